package egress

import (
	"io"
	"net"
	"os"
	"testing"
)

// TestCloseTwice: the second Close of a door that had a tunnel closes nothing of somebody else's. The tunnel's pipes have numbers that the
// process gives away again.
func TestCloseTwice(t *testing.T) {
	own := listen(t, "0.0.0.0:0")
	port := portOf(own)
	up := server(t, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }) // not by Go's own pipes
	j := newJail(t, []Rule{{Host: "raw.example.com", Ports: []uint16{port}, Connect: up, Why: "test"}}, nil, own)
	c := j.dial("raw.example.com", port)
	if answer, err := says(c, "hello"); err != nil || answer != "hello" {
		t.Fatalf("%q, %v", answer, err)
	}
	if err := j.door.Close(); err != nil {
		t.Fatal(err)
	}
	var others []*os.File
	for range 32 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		others = append(others, f)
	}
	if err := j.door.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range others {
		if _, err := f.Stat(); err != nil {
			t.Errorf("somebody closed it: %v", err)
		}
	}
}
