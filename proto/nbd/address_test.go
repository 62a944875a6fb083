package nbd_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/proto/nbd"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		text string
		want nbd.Target
	}{
		{"nbd://example.com", nbd.Target{Network: "tcp", Host: "example.com", Port: "10809"}},
		{"nbd://example.com/", nbd.Target{Network: "tcp", Host: "example.com", Port: "10809"}},
		{"nbd://", nbd.Target{Network: "tcp", Host: "localhost", Port: "10809"}},
		{"nbd://example.com//disk", nbd.Target{Network: "tcp", Host: "example.com", Port: "10809", Export: "/disk"}},
		{"NBD://[2001:db8::1]:1/hello%20world", nbd.Target{Network: "tcp", Host: "2001:db8::1", Port: "1", Export: "hello world"}},
		{"nbds://u@h/x?tls-certificates=/d&tls-hostname=n", nbd.Target{Network: "tcp", Host: "h", Port: "10809", Export: "x", TLS: true, Username: "u", Certificates: "/d", Hostname: "n"}},
		{"nbds://h?tls-psk-file=k&tls-username=u&tls-verify-peer=0", nbd.Target{Network: "tcp", Host: "h", Port: "10809", TLS: true, PSKFile: "k", Username: "u", NoVerifyPeer: true}},
		{"nbd+unix:///disk?socket=nbd.sock", nbd.Target{Network: "unix", Path: "nbd.sock", Export: "disk"}},
		{"nbds+unix:///?socket=/s&tls-type=x509", nbd.Target{Network: "unix", Path: "/s", TLS: true, Type: "x509"}},
		{"nbd+unix:///?socket=%00abstract", nbd.Target{Network: "unix", Path: "\x00abstract"}},
	} {
		got, err := nbd.ParseURI(c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v\n%s", c.text, err, diff)
		}
	}
	for _, text := range []string{
		"", "nbd:disk", "http://h", "nbd://h:0", "nbd://h:70000", "nbd://h:x", "nbd://h?what=1", "nbd://h?socket=s", "nbd+unix:///", "nbd+unix://h/?socket=s",
		"nbd://u:secret@h", "nbd://h/#x", "nbds://h?tls-type=what", "nbds://h?tls-hostname=a&tls-hostname=b",
	} {
		_, err := nbd.ParseURI(text)
		wantCode(t, err, "nbd-address")
	}
}

func TestParseImageOpts(t *testing.T) {
	target := nbd.Target{Network: "tcp", Host: "localhost", Port: "10809", Export: "/", TLS: true, CredsID: "tls0"}
	for _, c := range []struct {
		text string
		want nbd.Image
	}{
		{"file.driver=nbd,file.host=localhost,file.port=10809,file.tls-creds=tls0,file.export=/", nbd.Image{Driver: "nbd", Target: target}},
		{"driver=nbd,host=localhost,tls-creds=tls0,export=/", nbd.Image{Driver: "nbd", Target: target}},
		{"driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=localhost,file.server.port=10809,file.tls-creds=tls0,file.export=/",
			nbd.Image{Formats: []string{"raw"}, Driver: "nbd", Target: target}},
		{`json:{"driver":"qcow2","read-only":true,"file":{"driver":"nbd","server":{"type":"unix","path":"/s"},"export":"a,b","reconnect-delay":0,"open-timeout":3}}`,
			nbd.Image{Formats: []string{"qcow2"}, Driver: "nbd", Target: nbd.Target{Network: "unix", Path: "/s", Export: "a,b", OpenTimeout: 3 * time.Second}, Options: map[string]string{"read-only": "on"}}},
		{"driver=nbd,path=/s,export=a,,b,tls-hostname=h", nbd.Image{Driver: "nbd", Target: nbd.Target{Network: "unix", Path: "/s", Export: "a,b", Hostname: "h"}}},
		{"driver=qcow2,file.filename=/d.qcow2,cache.direct=on", nbd.Image{Formats: []string{"qcow2"}, Driver: "file", Filename: "/d.qcow2", Options: map[string]string{"cache.direct": "on"}}},
	} {
		got, err := nbd.ParseImageOpts(c.text)
		if len(got.Options) == 0 {
			got.Options = nil
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v\n%s", c.text, err, diff)
		}
	}
	for _, text := range []string{
		"", "driver", "driver=nbd", "driver=nbd,host=h,path=p", "driver=nbd,path=p,port=1", "driver=nbd,host=h,file.driver=raw", "json:[]", "json:{", "driver=qcow2",
		"driver=nbd,host=h,open-timeout=soon", "driver=nbd,host=h,reconnect-delay=1", "driver=file", "driver=nbd,server.type=vsock,host=h",
	} {
		_, err := nbd.ParseImageOpts(text)
		wantCode(t, err, "nbd-address")
	}
}

// TestTargetCredentials loads what addresses name.
func TestTargetCredentials(t *testing.T) {
	dir := credDir(t)
	psk, err := nbd.ParseURI("nbds://" + pskUser + "@localhost?tls-psk-file=" + filepath.Join(dir, "keys.psk"))
	must(t, err)
	other := filepath.Join(dir, "other.name")
	must(t, os.Rename(filepath.Join(dir, "keys.psk"), other))
	if _, err := psk.Credentials(); err == nil {
		t.Error("a missing file of keys")
	}
	psk.PSKFile = other
	c, err := psk.Credentials()
	must(t, err)
	if c.Type() != "tls-creds-psk" {
		t.Error(c.Type())
	}
	x509, err := nbd.ParseURI("nbds://localhost?tls-certificates=" + dir)
	must(t, err)
	c, err = x509.Credentials()
	must(t, err)
	if c.Type() != "tls-creds-x509" || !c.VerifyPeer() {
		t.Error(c.Type())
	}
}
