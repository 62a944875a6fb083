package session

import (
	"runtime"
	"testing"
	"time"

	"virtls/creds"
)

// What credentials' sessions share goes with the credentials, and the
// signatures that were found right are forgotten in time.
func TestSharedGoes(t *testing.T) {
	count := func() (n int) {
		allShared.Range(func(any, any) bool { n++; return true })
		return n
	}
	before := count()
	x := load(t, creds.X509Options{Dir: newAuthority(t, "").dir(want{})}).(*creds.X509)
	s := sharedBy(x)
	if s != sharedBy(x) || s.certs[0].Leaf == nil {
		t.Error("each session makes its own")
	}
	first := s.known()
	for range forgetAfter {
		s.known()
	}
	if s.known() == first {
		t.Error("signatures are remembered for ever")
	}
	runtime.KeepAlive(x)
	x = nil
	for end := time.Now().Add(10 * time.Second); count() > before; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatal("it stays when the credentials are gone")
		}
	}
}
