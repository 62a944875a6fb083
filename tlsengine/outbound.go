package tlsengine

import (
	"errors"
	"sync"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// outbound is the half of a connection that sends.
type outbound struct {
	mu      sync.Mutex
	buf     []byte  // records to be sent
	mem     *[]byte // of outputs, below buf; nil while there is nothing to be sent
	queued  []byte  // handshake messages that wait for a common record
	version wire.Version
	limit   int // octets of content in a record
	lasts   int // records under one key; 0: as the suite has it
	keys    *trafficKeys
	answer  bool                      // the peer has asked for a KeyUpdate
	open    bool                      // application data may be written
	twist   func(wire.Message) []byte // in tests: what is sent instead of a message
	closed  bool
}

// outputs are shared by all connections, so that an idle one needs none.
var outputs = sync.Pool{New: func() any { b := make([]byte, 0, maxBuffered); return &b }}

// acquire makes sure that there is memory for output.
func (o *outbound) acquire() {
	if o.mem == nil {
		o.mem = outputs.Get().(*[]byte)
		o.buf = *o.mem
	}
}

// sent removes octets from the front, and gives the memory back with the last.
func (o *outbound) sent(n int) {
	o.buf = o.buf[:copy(o.buf, o.buf[n:])]
	if len(o.buf) == 0 && o.mem != nil {
		if cap(o.buf) <= 2*maxBuffered {
			*o.mem = o.buf
			outputs.Put(o.mem)
		}
		o.mem, o.buf = nil, nil
	}
}

// trafficKeys protect one direction in TLS 1.3.
type trafficKeys struct {
	*record.Protector
	suite  *suite
	secret []byte
}

func newTrafficKeys(s *suite, secret []byte) (*trafficKeys, error) {
	key, iv := schedule.Keys(s.hash, secret, s.aead.KeySize())
	p, err := record.NewTLS13(s.aead, key, iv)
	clear(key)
	clear(iv)
	return &trafficKeys{p, s, secret}, err
}

// forget overwrites the secret and lets go of the cipher, whose copy of the key
// is out of reach.
func (k *trafficKeys) forget() {
	if k != nil {
		clear(k.secret)
	}
}

// tired tells whether the key has protected as many records as it should.
func (k *trafficKeys) tired(lasts int) bool {
	if lasts == 0 {
		lasts = defaultLimits.RecordsPerKey
		if k.suite.aead == record.ChaCha20Poly1305 {
			return false // RFC 8446, section 5.5
		}
	}
	return k.Sealed() >= uint64(lasts)
}

// errNoUpdate is for keys of TLS 1.2, which last to the end.
var errNoUpdate = errors.New("tlsengine: TLS 1.2 has no key_update")

func (k *trafficKeys) next() (*trafficKeys, error) {
	if k.secret == nil {
		return nil, errNoUpdate
	}
	return newTrafficKeys(k.suite, schedule.Next(k.suite.hash, k.secret))
}

func (o *outbound) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)+len(o.queued) > 0 || o.answer
}

// setVersion sets the version of unprotected records.
func (o *outbound) setVersion(v wire.Version) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.version = v
}

// message queues a handshake message.
func (o *outbound) message(m wire.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.twist != nil {
		m = o.twist(m)
	}
	o.queued = append(o.queued, m...)
}

// setKeys changes the keys after what is queued.
func (o *outbound) setKeys(keys *trafficKeys) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.keys = keys
}

// compatible puts the change_cipher_spec that middleboxes want (RFC 8446,
// appendix D.4) behind what is queued.
func (o *outbound) compatible() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.acquire()
	o.buf = record.AppendPlain(o.buf, wire.ChangeCipherSpec, wire.TLS12, []byte{1})
}

// flush puts what is queued into records.
func (o *outbound) flush() {
	if o.answer && o.keys != nil {
		// An error cannot be: the sequence starts anew.
		_ = o.updateKey(false)
	}
	if len(o.queued) > 0 {
		o.append(wire.HandshakeRecord, o.queued)
		o.queued = nil
	}
}

// append puts content into as many records as it needs. Every key is changed
// long before its sequence number ends.
func (o *outbound) append(t wire.ContentType, content []byte) {
	o.acquire()
	for first := true; first || len(content) > 0; first = false {
		n := min(len(content), o.limit)
		if o.keys == nil {
			version := o.version
			if version == 0 {
				version = wire.TLS10 // of a first ClientHello (RFC 8446, section 5.1)
			}
			o.buf = record.AppendPlain(o.buf, t, version, content[:n])
		} else {
			var err error
			if o.buf, err = o.keys.Append(o.buf, t, content[:n]); err != nil {
				panic("tlsengine: " + err.Error())
			}
		}
		content = content[n:]
	}
}

func (o *outbound) write(p []byte) error {
	switch {
	case o.closed:
		return ErrClosed
	case !o.open:
		return errors.New("tlsengine: Write before the handshake is complete")
	}
	for len(p) > 0 {
		if o.keys.secret != nil && o.keys.tired(o.lasts) {
			if err := o.updateKey(false); err != nil {
				return err
			}
		}
		o.flush()
		n := min(len(p), o.limit)
		o.append(wire.ApplicationData, p[:n])
		p = p[n:]
	}
	return nil
}

// updateKey sends a KeyUpdate and changes the key. It answers the peer's too.
func (o *outbound) updateKey(request bool) error {
	if !o.open || o.closed {
		return ErrClosed
	}
	next, err := o.keys.next()
	if err != nil {
		return err
	}
	o.answer = false
	o.append(wire.HandshakeRecord, wire.KeyUpdate(request))
	o.keys.forget()
	o.keys = next
	return nil
}

// forget ends the sending side for good. What is in records may still be sent.
func (o *outbound) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.keys.forget()
	o.closed, o.answer = true, false
}

func (o *outbound) close() {
	if o.closed {
		return
	}
	o.flush()
	o.append(wire.AlertRecord, []byte{1, byte(wire.CloseNotify)})
	o.closed = true
}

// alert ends the sending side with a fatal alert.
func (o *outbound) alert(a wire.Alert) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.queued = nil
	o.append(wire.AlertRecord, []byte{2, byte(a)})
	o.closed = true
}
