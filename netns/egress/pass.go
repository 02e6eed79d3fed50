package egress

import (
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// pass carries a read to the real server and the answer back. httputil.ReverseProxy, which carries all other requests, does it on a copy
// of the request, hears of 1xx through httptrace and flushes by timers: a twelfth of the processor time that a read takes.
func (w *web) pass(rw *recorder, req *http.Request, p *passage) {
	p.inform = func(status int, fields http.Header) {
		maps.Copy(rw.Header(), fields)
		rw.WriteHeader(status)
		clear(rw.Header())
	}
	trailers := httpguts.HeaderValuesContainsToken(req.Header["Te"], "trailers")
	oneHop(req.Header)
	if trailers {
		req.Header["Te"] = []string{"trailers"}
	}
	if _, has := req.Header["User-Agent"]; !has {
		req.Header["User-Agent"] = []string{""} // or net/http tells its own
	}
	req.Close = false // the client's connection ends, not the server's
	url := *req.URL
	req.URL = &url
	p.address(req)
	res, err := w.RoundTrip(req)
	if err == nil {
		oneHop(res.Header)
		defer res.Body.Close()
		err = incoming(res)
	}
	if err != nil {
		w.failed(rw, req, err)
		return
	}
	maps.Copy(rw.Header(), res.Header)
	announced := len(res.Trailer)
	if announced > 0 {
		rw.Header().Set("Trailer", strings.Join(slices.Collect(maps.Keys(res.Trailer)), ", "))
	}
	rw.WriteHeader(res.StatusCode)
	if w.passBody(rw, res.Body, p.whole) != nil {
		panic(http.ErrAbortHandler) // the answer has begun: its end is all that can be said
	}
	for name, values := range res.Trailer {
		if len(res.Trailer) > announced {
			name = http.TrailerPrefix + name
		}
		rw.Header()[name] = append(rw.Header()[name], values...)
	}
}

// passBody passes on what comes when it comes: before it waits, all is sent. A body that is whole is not waited for, and goes out with its
// head.
func (w *web) passBody(rw *recorder, body io.Reader, whole bool) error {
	buf := w.bodies.Get()
	defer w.bodies.Put(buf)
	for {
		if !whole {
			_ = http.NewResponseController(rw).Flush() // an error comes again
		}
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := rw.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// oneHop takes out the fields that are for the next hop alone (RFC 9110 section 7.6.1).
func oneHop(fields http.Header) {
	for _, line := range fields["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			fields.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop() {
		delete(fields, name)
	}
}
