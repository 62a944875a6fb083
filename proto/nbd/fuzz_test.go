package nbd

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// memory is a device in memory.
type memory []byte

func (m memory) Size() int64                              { return int64(len(m)) }
func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) Flush() error                             { return nil }
func (m memory) Trim(off, length int64) error             { clear(m[off : off+length]); return nil }
func (m memory) WriteZeroes(off, length int64, _ CommandFlag) error {
	clear(m[off : off+length])
	return nil
}
func (m memory) Extents(off, length int64, limit int) ([]Extent, error) {
	return []Extent{{Length: length / 2, Hole: true, Zero: true}, {Length: length - length/2}}[:min(2, limit)], nil
}

// scripted is a connection on which a peer has said everything already.
type scripted struct {
	net.Conn
	in  *bytes.Reader
	out int
}

func script(says []byte) *scripted { return &scripted{in: bytes.NewReader(says)} }

func (s *scripted) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error)      { s.out += len(p); return len(p), nil }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) RemoteAddr() net.Addr             { return nil }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

func optionBytes(o Option, data string) string {
	b := be.AppendUint64(nil, magicOption)
	b = be.AppendUint32(b, uint32(o))
	b = be.AppendUint32(b, uint32(len(data)))
	return string(b) + data
}

// FuzzServer feeds a server what a client may say: options, then requests.
func FuzzServer(f *testing.F) {
	const flags, name = "\x00\x00\x00\x03", "\x00\x00\x00\x01x"
	for _, s := range []string{
		flags + optionBytes(OptExportName, "x"), flags + optionBytes(OptList, ""), flags + optionBytes(OptGo, name+"\x00\x01\x00\x03"),
		flags + optionBytes(OptExtendedHeaders, "") + optionBytes(OptSetMetaContext, name+"\x00\x00\x00\x01\x00\x00\x00\x0fbase:allocation") + optionBytes(OptGo, name+"\x00\x00"),
		flags + optionBytes(OptStartTLS, ""), flags + optionBytes(OptInfo, "\xff\xff\xff\xff"),
	} {
		for _, m := range []mode{simple, extended} {
			text := []byte(s)
			for c := cmdRead; c <= cmdBlockStatus; c++ {
				text = (&request{command: c, offset: 512, length: 16}).append(text, m)
				if c == cmdWrite {
					text = append(text, make([]byte, 16)...)
				}
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		s := &Server{Exports: []Export{{Name: "x", Device: memory(make([]byte, 4096))}}, Limits: Limits{Requests: 1}}
		_ = s.ServeConn(context.Background(), script(says))
	})
}

// FuzzClient feeds a client what a server may say, answers to requests too.
func FuzzClient(f *testing.F) {
	hello := "NBDMAGICIHAVEOPT\x00\x03"
	answer := func(o Option, kind ReplyType, data string) string {
		b := be.AppendUint64(nil, magicReply)
		b = be.AppendUint32(b, uint32(o))
		b = be.AppendUint32(b, uint32(kind))
		b = be.AppendUint32(b, uint32(len(data)))
		return string(b) + data
	}
	info := answer(OptGo, RepInfo, "\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x41") + answer(OptGo, RepAck, "")
	old := hello + answer(OptExtendedHeaders, RepErrUnsupported, "")
	contexts := answer(OptSetMetaContext, RepMetaContext, "\x00\x00\x00\x01base:allocation") + answer(OptSetMetaContext, RepAck, "")
	read := string(appendSimple(nil, 1, 0)) + strings.Repeat("d", 64)
	f.Add([]byte(old + answer(OptStructuredReply, RepErrUnsupported, "") + info + read))
	chunks := &transmission{mode: structured}
	text := chunks.appendChunk(nil, &request{cookie: 1}, 0, chunkHole, 12)
	text = append(text, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40"...)
	text = chunks.appendChunk(text, &request{cookie: 1}, chunkDone, chunkNone, 0)
	f.Add([]byte(old + answer(OptStructuredReply, RepAck, "") + contexts + info + string(text)))
	f.Add([]byte(hello + answer(OptExtendedHeaders, RepAck, "") + contexts + info))
	f.Add([]byte(old + answer(OptStructuredReply, RepErrUnsupported, "") + answer(OptGo, RepErrUnsupported, "") + "\x00\x00\x00\x00\x00\x00\x10\x00\x00\x41"))
	f.Fuzz(func(t *testing.T, says []byte) {
		c, err := NewClient(context.Background(), script(says), Options{})
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.ReadAt(make([]byte, min(64, c.Size())), 0)
		list, err := c.Extents(0, min(4096, c.Size()), 100)
		for _, e := range list {
			if e.Length <= 0 || e.Length > 4096 {
				t.Errorf("extent %+v, error %v", e, err)
			}
		}
	})
}

// FuzzReplies feeds a client answers to a read and to a question for the block
// status, in each shape.
func FuzzReplies(f *testing.F) {
	for m := range mode(3) {
		t := &transmission{mode: m}
		f.Add(byte(m), t.appendChunk(nil, &request{cookie: 1}, chunkDone, chunkStatus, 12))
		f.Add(byte(m), appendSimple(nil, 1, EIO))
	}
	f.Fuzz(func(t *testing.T, shape byte, says []byte) {
		n := &connection{conn: script(says), plain: script(nil), mode: mode(shape % 3), pending: map[uint64]*call{}, done: make(chan struct{})}
		calls := []*call{
			{request: request{command: cmdRead, offset: 100, length: 64, cookie: 1}, into: make([]byte, 64), done: make(chan struct{})},
			{request: request{command: cmdBlockStatus, offset: 0, length: 4096, cookie: 2}, done: make(chan struct{})},
		}
		for _, k := range calls {
			n.pending[k.cookie] = k
		}
		n.receive()
		for _, k := range calls {
			<-k.done
			if k.got > k.length {
				t.Errorf("%d octets of %d", k.got, k.length)
			}
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"nbd://h:1/x", "nbds://u@[::1]/a%20b?tls-certificates=d&tls-hostname=n", "nbd+unix:///x?socket=/s", "nbds+unix:///?socket=s&tls-psk-file=k&tls-username=u", "nbd:h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseURI(s)
		if err == nil && (target.Network == "tcp") == (target.Path != "") {
			t.Errorf("%q is %+v", s, target)
		}
	})
}

func FuzzParseImageOpts(f *testing.F) {
	for _, s := range []string{
		"driver=nbd,host=h,export=a,,b,tls-creds=t", "file.driver=nbd,file.path=/s", `json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"inet","host":"h","port":"1"}}}`,
		"driver=qcow2,file.filename=x,file.driver=file", "driver=raw,file.file.driver=nbd,file.file.host=x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		image, err := ParseImageOpts(s)
		if err == nil && image.Driver != "nbd" && image.Filename == "" {
			t.Errorf("%q is %+v", s, image)
		}
	})
}

// TestRun finds where zeroes begin and end.
func TestRun(t *testing.T) {
	data := make([]byte, 5*sparse+100)
	data[sparse+7], data[2*sparse] = 1, 1
	var got []string
	for off := 0; off < len(data); {
		end, zero := run(data, off)
		got = append(got, map[bool]string{true: "zero", false: "data"}[zero])
		off = end
	}
	if strings.Join(got, " ") != "zero data zero" {
		t.Error(got)
	}
}

// FuzzMediator feeds a mediator what a client and a server may say.
func FuzzMediator(f *testing.F) {
	const flags, name = "\x00\x00\x00\x03", "\x00\x00\x00\x01x"
	answer := func(o Option, kind ReplyType, data string) string {
		b := be.AppendUint64(nil, magicReply)
		b = be.AppendUint32(b, uint32(o))
		b = be.AppendUint32(b, uint32(kind))
		return string(be.AppendUint32(b, uint32(len(data)))) + data
	}
	const hello = "NBDMAGICIHAVEOPT\x00\x03"
	f.Add([]byte(flags+optionBytes(OptList, "")), []byte(hello+answer(OptList, RepServer, name)+answer(OptList, RepAck, "")))
	f.Add([]byte(flags+optionBytes(OptGo, name+"\x00\x00")), []byte(hello+answer(OptGo, RepErrUnknown, "no")+answer(OptGo, RepAck, "")))
	f.Add([]byte(flags+optionBytes(OptExportName, "x")), []byte(hello+"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"))
	f.Add([]byte(flags+optionBytes(OptSetMetaContext, name+"\x00\x00\x00\x00")+optionBytes(OptAbort, "")), []byte(hello+answer(OptSetMetaContext, RepErrInvalid, "")))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		ctx := context.Background()
		m, err := Accept(ctx, script(client), nil)
		if err != nil || m.Reach(ctx, script(server), Options{}) != nil {
			return
		}
		chosen, err := m.Choose(ctx, func(name string, _ bool) bool { return name != "hidden" })
		if err == nil && chosen == "hidden" {
			t.Error("the client has an export that it may not have")
		}
	})
}

// TestEndlessAnswers lets a server list more than anybody can keep: each list is
// within its bound, all together are not.
func TestEndlessAnswers(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	answer := func(o Option, kind ReplyType, data string) string {
		b := be.AppendUint64(nil, magicReply)
		b = be.AppendUint32(be.AppendUint32(b, uint32(o)), uint32(kind))
		return string(be.AppendUint32(b, uint32(len(data)))) + data
	}
	var sent atomic.Int64
	say := func(text string) bool {
		n, err := theirs.Write([]byte(text))
		sent.Add(int64(n))
		return err == nil
	}
	go func() {
		say("NBDMAGICIHAVEOPT\x00\x03")
		go func() { // what the client says does not matter
			b := make([]byte, 1<<16)
			for {
				if _, err := theirs.Read(b); err != nil {
					return
				}
			}
		}()
		entry := string(be.AppendUint32(nil, 4000)) + strings.Repeat("n", 4000) + strings.Repeat("d", 4000)
		for range 5000 {
			if !say(answer(OptList, RepServer, entry)) {
				return
			}
		}
		say(answer(OptList, RepAck, ""))
		say(answer(OptExtendedHeaders, RepErrUnsupported, "") + answer(OptStructuredReply, RepAck, ""))
		for say(answer(OptInfo, RepInfo, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01") + answer(OptInfo, RepAck, "")) {
			for range 5000 {
				if !say(answer(OptListMetaContext, RepMetaContext, "\x00\x00\x00\x00"+strings.Repeat("c", 8000))) {
					return
				}
			}
			say(answer(OptListMetaContext, RepAck, ""))
		}
	}()
	_, err := Query(t.Context(), ours, Options{})
	if err == nil || !strings.Contains(err.Error(), "says more than") {
		t.Errorf("the client ends with %v", err)
	}
	if sent.Load() > maxHeard+1<<20 {
		t.Errorf("it took %d octets", sent.Load())
	}
}
