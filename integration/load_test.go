package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// load is the client of the benchmarks, the same inside a jail and outside: load URL CAFILE CONNECT MEASURE. CAFILE and CONNECT (an address
// to dial instead of URL's) may be "-". It prints one number.
//
//	down:BYTES           seconds for one response of so many bytes
//	up:BYTES             seconds for one request of so many bytes
//	gets:CLIENTS:TOTAL   seconds for so many small responses over as many kept connections as there are clients
//	fresh:N              median seconds from nothing to the first byte of a response, each over a connection of its own, to a name that is resolved
//	warm:N               median seconds for a small response over one kept connection
//	events:N             median seconds from the server's sending an event of a stream to its arrival
//	beside:N             seconds that one event in 20 takes more than, while the same client has a download from the same host
//	beside-tunnel:N      the same, with the download from tunnel.example
//	dns:N                median seconds for one name to be resolved
//	open:N               opens so many connections with a request each, prints 0, and holds them until stdin ends
func load(args []string) error {
	if len(args) != 4 {
		return errors.New("want URL CAFILE CONNECT MEASURE")
	}
	c := &loadClient{url: args[0], connect: args[2]}
	if args[1] != "-" {
		var err error
		if c.roots, err = rootsIn(args[1]); err != nil {
			return err
		}
	}
	name, rest, _ := strings.Cut(args[3], ":")
	var n []int
	for _, word := range strings.Split(rest, ":") {
		v, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		n = append(n, v)
	}
	seconds, err := c.measure(name, n)
	fmt.Println(seconds)
	if name == "open" && err == nil {
		io.Copy(io.Discard, os.Stdin)
	}
	return err
}

// rootsIn are the authorities of a file.
func rootsIn(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", path)
	}
	return roots, nil
}

type loadClient struct {
	url, connect string
	roots        *x509.CertPool
}

func (c *loadClient) measure(name string, n []int) (float64, error) {
	switch name {
	case "down":
		start := time.Now()
		t := c.transport(1)
		defer t.CloseIdleConnections()
		err := get(t, fmt.Sprintf("%s/down?n=%d", c.url, n[0]), int64(n[0]))
		return time.Since(start).Seconds(), err
	case "up":
		start := time.Now()
		t := c.transport(1)
		defer t.CloseIdleConnections()
		resp, err := (&http.Client{Transport: t}).Post(c.url+"/up", "application/octet-stream", io.LimitReader(zeros{}, int64(n[0])))
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if string(body) != strconv.Itoa(n[0]) {
			err = errors.Join(err, fmt.Errorf("the server got %s bytes", body))
		}
		return time.Since(start).Seconds(), err
	case "gets":
		return c.gets(n[0], n[1])
	case "fresh":
		if c.connect == "-" {
			addresses, err := net.DefaultResolver.LookupHost(context.Background(), strings.TrimPrefix(c.url, "https://"))
			if err != nil {
				return 0, err
			}
			c.connect = net.JoinHostPort(addresses[0], "443")
		}
		return median(n[0], func() error {
			t := c.transport(1)
			defer t.CloseIdleConnections()
			return get(t, c.url+"/small", smallSize)
		})
	case "warm":
		t := c.transport(1)
		return median(n[0], func() error { return get(t, c.url+"/small", smallSize) })
	case "events":
		late, err := c.events(n[0])
		if err != nil {
			return 0, err
		}
		return middle(late), nil
	case "beside":
		return c.beside(c.url, n[0])
	case "beside-tunnel":
		return c.beside("https://tunnel.example", n[0])
	case "dns":
		host := strings.TrimPrefix(c.url, "https://")
		r := &net.Resolver{PreferGo: true}
		if c.connect != "-" {
			r.Dial = c.dial
		}
		return median(n[0], func() error {
			_, err := r.LookupIPAddr(context.Background(), host)
			return err
		})
	case "open":
		t := c.transport(n[0])
		t.DisableKeepAlives = false
		return 0, together(n[0], n[0], func() error { return get(t, c.url+"/small", smallSize) })
	}
	return 0, fmt.Errorf("no measure %q", name)
}

// events are the seconds, sorted, that so many of a stream took.
func (c *loadClient) events(n int) ([]float64, error) {
	resp, err := (&http.Client{Transport: c.transport(1)}).Get(fmt.Sprintf("%s/events?n=%d", c.url, n))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	var late []float64
	for lines.Scan() {
		var sent int64
		if _, err := fmt.Sscanf(lines.Text(), "data: %d", &sent); err == nil {
			late = append(late, time.Since(time.Unix(0, sent)).Seconds())
		}
	}
	if len(late) != n {
		return nil, errors.Join(lines.Err(), fmt.Errorf("%d events of %d", len(late), n))
	}
	slices.Sort(late)
	return late, nil
}

func (c *loadClient) beside(url string, n int) (float64, error) {
	resp, err := (&http.Client{Transport: c.transport(1)}).Get(url + "/down?n=1000000000000")
	if err != nil {
		return 0, err
	}
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- err
	}()
	late, err := c.events(n)
	resp.Body.Close()
	if cut := <-ended; cut == nil || err != nil {
		return 0, errors.Join(err, fmt.Errorf("the download: %v", cut))
	}
	return late[len(late)*95/100], nil
}

func (c *loadClient) gets(clients, total int) (float64, error) {
	t := c.transport(clients)
	request := func() error { return get(t, c.url+"/small", smallSize) }
	if err := together(clients, clients, request); err != nil { // the connections are there
		return 0, err
	}
	start := time.Now()
	err := together(clients, total, request)
	return time.Since(start).Seconds(), err
}

// together has so many clients do total acts.
func together(clients, total int, act func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		wg.Go(func() {
			for range total / clients {
				if errs[i] = act(); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *loadClient) transport(conns int) *http.Transport {
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}, MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns}
	if c.connect != "-" {
		t.DialContext = c.dial
	}
	return t
}

func (c *loadClient) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, c.connect)
}

// get wants a response of size bytes.
func get(t *http.Transport, url string, size int64) error {
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if n != size || resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: status %d, %d bytes of %d", url, resp.StatusCode, n, size))
	}
	return err
}

// median is that of n acts' seconds.
func median(n int, act func() error) (float64, error) {
	var all []float64
	for range n {
		start := time.Now()
		if err := act(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(start).Seconds())
	}
	return middle(all), nil
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
