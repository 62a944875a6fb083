package gssapi

import (
	"bytes"
	"testing"

	"virtls/sasl"
)

// What a client may say to a server before it is known: nothing of it is the
// end of a login, and nothing ends the server.
func FuzzAccept(f *testing.F) {
	request, _, err := ticket{}.initiator(f, sasl.Layer{}).Step(nil)
	must(f, err)
	f.Add(request)
	f.Add(frame(tokenRequest, []byte{0x6e, 0}))
	f.Add(frame(tokenError, []byte{0x7e, 0}))
	server := Server{Keytab: keytabFile(f)}
	f.Fuzz(func(t *testing.T, token []byte) {
		steps, err := server.Start(sasl.Layer{})
		must(t, err)
		out, done, err := steps.Step(token)
		if done || steps.User() != "" && err != nil || err != nil && out != nil {
			t.Errorf("%x is taken: %x, %v", token, out, err)
		}
	})
}

// What a server may say to a client.
func FuzzReply(f *testing.F) {
	client := ticket{}.initiator(f, sasl.Layer{})
	out, _, err := client.Step(nil)
	must(f, err)
	answer, _, err := newServer(f, Server{}, sasl.Layer{}).Step(out)
	must(f, err)
	f.Add(answer)
	f.Add(frame(tokenReply, []byte{0x6f, 0}))
	f.Add(frame(tokenError, []byte{0x7e, 0}))
	f.Fuzz(func(t *testing.T, token []byte) {
		again := *client
		again.stage = again.answered
		if _, _, err := again.Step(token); err == nil && !bytes.Equal(token, answer) {
			t.Errorf("%x is taken", token)
		}
	})
}

// Sealed and signed messages.
func FuzzUnwrap(f *testing.F) {
	client, server := sealedPair(f)
	start := *client
	good, err := client.Wrap([]byte("message"))
	must(f, err)
	*client = start
	signed, err := client.wrap([]byte("message"), false)
	must(f, err)
	f.Add(good, true)
	f.Add(signed, false)
	f.Fuzz(func(t *testing.T, token []byte, seal bool) {
		again := *server
		message, err := again.unwrap(token, seal)
		if err == nil && string(message) != "message" {
			t.Errorf("%x is taken for %q", token, message)
		}
		if err != nil && again.theirs.next != server.theirs.next {
			t.Error("a forged message counts")
		}
	})
}
