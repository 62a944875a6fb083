package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"virtls/tlsengine"
)

// A session is a connection under test.
type session struct {
	*tlsengine.Engine
	test *test
	conn net.Conn
	buf  [1 << 14]byte // read and not yet fed is buf[r:w]
	r, w int
	bye  bool // the peer's close_notify has come
}

// exchange plays what the test wants.
func (s *session) exchange() error {
	t := s.test
	if err := s.handshake(); err != nil {
		return err
	}
	if err := t.check(s.State()); err != nil {
		return err
	}
	if t.exportSize > 0 {
		var context []byte
		if t.useExportContext {
			context = append([]byte{}, t.exportContext...)
		}
		key, err := s.Export(t.exportLabel, context, t.exportSize)
		if err != nil {
			return err
		}
		if err := s.send(key); err != nil {
			return err
		}
	}
	switch {
	case t.sendAlert:
		const decompressionFailure = 30
		s.Refuse(decompressionFailure)
		return nil
	case t.differentSizes:
		for _, n := range []int{0, 1, 255, 256, 257, 16383, 16384, 16385, 32767, 32768, 32769} {
			if err := s.send(bytes.Repeat([]byte{0x42}, n)); err != nil {
				return err
			}
		}
	default:
		if err := s.echo(); err != nil {
			return err
		}
	}
	return s.shutdown()
}

func (s *session) handshake() error {
	for {
		status, err := s.Handshake()
		if err != nil {
			return err
		}
		switch status {
		case tlsengine.Complete:
			return nil
		case tlsengine.Sending:
			err = s.flush()
		case tlsengine.Signing:
			err = s.Sign()
		case tlsengine.Receiving:
			if err = s.feed(); err == io.EOF {
				err = errors.New("the peer closed during the handshake")
			}
		}
		if err != nil {
			return err
		}
	}
}

// feed gives bytes of the peer to the engine: one at a time where the test
// wants to see all interruptions there can be.
func (s *session) feed() error {
	if s.r == s.w {
		n, err := s.conn.Read(s.buf[:])
		if n == 0 {
			return err
		}
		s.r, s.w = 0, n
	}
	part := s.buf[s.r:s.w]
	if s.test.async {
		part = part[:1]
	}
	s.r += s.Feed(part)
	return nil
}

func (s *session) flush() error {
	for len(s.Output()) > 0 {
		n, err := s.conn.Write(s.Output())
		s.Sent(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) send(p []byte) error {
	if _, err := s.Write(p); err != nil {
		return err
	}
	return s.flush()
}

// read returns io.EOF after the peer's close_notify, and errNoGoodbye when it
// closed without one.
func (s *session) read(p []byte) (int, error) {
	for {
		n, err := s.Read(p)
		if !errors.Is(err, tlsengine.ErrWantInput) {
			s.bye = s.bye || err == io.EOF
			return n, err
		}
		if err := s.feed(); err != nil {
			return 0, errNoGoodbye
		}
	}
}

var errNoGoodbye = errors.New("the peer closed without close_notify")

// echo sends back what the peer sends, all bits reversed, until it closes.
func (s *session) echo() error {
	t := s.test
	unfinished := false
	switch {
	case t.readWithUnfinishedWrite:
		// One octet of the record goes out; the rest waits for the first read.
		if _, err := s.Write([]byte(t.initialWrite)); err != nil {
			return err
		}
		if _, err := s.conn.Write(s.Output()[:1]); err != nil {
			return err
		}
		s.Sent(1)
		unfinished = true
	case t.shimWritesFirst:
		for range max(t.repeatInitialWrite, 1) {
			if err := s.send([]byte(t.initialWrite)); err != nil {
				return err
			}
		}
	}
	if t.shimShutsDown {
		return nil
	}
	buf := make([]byte, t.readSize)
	for {
		if t.keyUpdateBeforeRead {
			if err := s.update(); err != nil {
				return err
			}
			if err := s.flush(); err != nil {
				return err
			}
		}
		n, err := s.read(buf)
		switch {
		case err == io.EOF, err == errNoGoodbye:
			return nil
		case err != nil:
			return err
		}
		if unfinished {
			if err := s.flush(); err != nil {
				return err
			}
			unfinished = false
		}
		if t.keyUpdate {
			if err := s.update(); err != nil {
				return err
			}
		}
		for i := range buf[:n] {
			buf[i] ^= 0xff
		}
		if err := s.send(buf[:n]); err != nil {
			return err
		}
	}
}

func (s *session) update() error { return s.KeyUpdate(false) }

// shutdown says goodbye where the test looks at it, and just closes otherwise.
func (s *session) shutdown() error {
	t := s.test
	if !t.checkCloseNotify {
		return nil
	}
	if !t.shimShutsDown && !s.bye {
		return errNoGoodbye
	}
	s.CloseWrite()
	if err := s.flush(); err != nil {
		return err
	}
	if s.bye {
		return nil
	}
	switch n, err := s.read(make([]byte, 1)); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%d octets of data after this side's close_notify", n)
	}
}
