package selftest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"time"
)

// server answers whatever is asked: it has no opinion on hosts, methods and lengths, so what it is kept from is the door's doing.
type server struct {
	token     string
	listeners []net.Listener
	packets   []net.PacketConn
}

func (s *server) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	for _, p := range s.packets {
		p.Close()
	}
}

// listen serves on an address; with a certificate, TLS.
func (s *server) listen(network, address string, cert *tls.Certificate) (net.Addr, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its name may be that of a descriptor which is another's by then; the directory goes with all that is in it
	}
	addr := l.Addr()
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}})
	}
	s.listeners = append(s.listeners, l)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.answer(conn)
		}
	}()
	return addr, nil
}

// answer gives the token and the credential that the request had, once its head is there.
func (s *server) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(attemptTime))
	credential := ""
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.EqualFold(name, "authorization") {
			credential = strings.TrimSpace(value)
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	io.WriteString(conn, s.text(credential))
}

// text is an answer.
func (s *server) text(credential string) string {
	body := s.token + "\n" + credential + "\n"
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// listenPacket answers each datagram with the token.
func (s *server) listenPacket(network, address string) (net.Addr, error) {
	p, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	s.packets = append(s.packets, p)
	go func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			p.WriteTo([]byte(s.text("")), from)
		}
	}()
	return p.LocalAddr(), nil
}

// certificate makes an authority and a certificate of its for hosts, good for a day.
func certificate(hosts []string) (authority []byte, cert *tls.Certificate, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	from := time.Now().Add(-time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agentjail selftest"}, NotBefore: from,
		NotAfter: from.AddDate(0, 0, 1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: from,
		NotAfter: from.AddDate(0, 0, 1), DNSNames: hosts, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), &tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, nil
}
