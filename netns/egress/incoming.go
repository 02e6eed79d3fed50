package egress

import (
	"io"
	"net/http"
	"strings"
)

// scrubHeader puts placeholders where a header of the host's answers holds real values: for 1xx responses, which incoming never sees.
func (e *errand) scrubHeader(h http.Header) {
	for _, g := range e.hosts {
		g.remember("").header(h)
	}
}

// incoming puts placeholders where the response to the errand's request holds real values, in header, body and trailers. The body
// stays a stream. It gives a refusal when the request carried a secret and the body cannot be read, because the real server
// compressed it although it was asked not to; gzip is read all the same.
func (e *errand) incoming(res *http.Response) *refusal {
	if len(e.hosts) == 0 {
		return nil
	}
	e.scrubHeader(res.Header)
	e.scrubHeader(res.Trailer) // names that are announced
	if res.StatusCode == http.StatusSwitchingProtocols {
		return e.upgraded(res)
	}
	if res.Body == nil || res.Body == http.NoBody {
		return nil
	}
	plain, gzipped := plainEncoding(res.Header)
	switch {
	case plain:
	case gzipped:
		res.Body = &gunzipped{ReadCloser: res.Body}
		res.Header.Del("Content-Encoding")
		e.unsized(res)
	case len(e.used) > 0:
		return e.target.refuse(Encoding, "Content-Encoding "+strings.Join(res.Header["Content-Encoding"], ", "), "")
	default:
		return nil
	}
	for _, g := range e.hosts {
		s := g.remember("")
		if len(s.by) == 0 {
			continue
		}
		if !s.even {
			e.unsized(res)
		}
		res.Body = &scrubbed{ReadCloser: res.Body, swap: s, atEnd: func() { s.header(res.Trailer) }}
	}
	return nil
}

// upgraded does so for what the server says behind an upgrade.
func (e *errand) upgraded(res *http.Response) *refusal {
	conn, ok := res.Body.(io.ReadWriteCloser)
	refuse := func(detail string) *refusal { return e.target.refuse(Encoding, "WebSocket: "+detail, "") }
	if !ok || len(res.Header["Sec-Websocket-Extensions"]) > 0 {
		return refuse("an extension that was not asked for")
	}
	res.Body = &socketed{
		ReadWriteCloser: conn,
		swaps: func() (list []*swap) {
			for _, g := range e.hosts {
				list = append(list, g.remember(""))
			}
			return list
		},
		refuse: func(detail string) error {
			why := refuse(detail)
			e.late.Store(why)
			return why
		},
	}
	return nil
}

// unsized takes the length off a response that may get another one.
func (e *errand) unsized(res *http.Response) {
	res.ContentLength = -1
	res.Header.Del("Content-Length")
}
