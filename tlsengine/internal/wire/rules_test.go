package wire

import (
	"errors"
	"testing"
)

// ext writes an extension.
func ext(t ExtensionType, data ...byte) []byte {
	return append([]byte{byte(t >> 8), byte(t), byte(len(data) >> 8), byte(len(data))}, data...)
}

// serverHello writes a ServerHello's body with extensions.
func serverHello(exts ...byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0x13, 1, 0)
	return append(append(body, byte(len(exts)>>8), byte(len(exts))), exts...)
}

func TestExtensionRules(t *testing.T) {
	name := ext(ExtServerName)
	for _, tt := range []struct {
		name  string
		parse func() error
		want  Alert
	}{
		{"one server name", func() error { _, err := ParseServerHello(serverHello(name...)); return err }, 0},
		{"twice", func() error { _, err := ParseServerHello(serverHello(append(name, name...)...)); return err }, DecodeError},
		{"an acknowledgement with content", func() error {
			_, err := ParseServerHello(serverHello(ext(ExtServerName, 0)...))
			return err
		}, DecodeError},
		{"the same in TLS 1.3", func() error {
			_, err := ParseEncryptedExtensions(append([]byte{0, 5}, ext(ExtServerName, 0)...))
			return err
		}, DecodeError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.parse()
			var own *Error
			if (err == nil) != (tt.want == 0) || err != nil && (!errors.As(err, &own) || own.Alert != tt.want) {
				t.Errorf("got %v, want the alert %s", err, tt.want)
			}
		})
	}
}

// A binder of a wrong size is a wrong binder, and no malformed message.
func TestShortBinder(t *testing.T) {
	h := &ClientHello{Version: TLS12, Suites: []Suite{AES128GCMSHA256}, Compression: []byte{0}, PSKs: []PSKIdentity{{Identity: []byte("rich")}}, Binders: [][]byte{{1}}}
	got, err := ParseClientHello(h.Marshal().Body())
	if err != nil || len(got.Binders) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestBestVersion(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hello ClientHello
		want  Version
	}{
		{"TLS 1.2", ClientHello{Version: TLS12}, TLS12},
		{"TLS 1.1", ClientHello{Version: TLS11}, TLS11},
		{"one that there is not", ClientHello{Version: 0x0399}, TLS12},
		{"a list", ClientHello{Version: TLS12, Versions: []Version{0x7a7a, TLS12, TLS13}}, TLS13},
		{"an old list", ClientHello{Version: TLS12, Versions: []Version{TLS11}}, TLS11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.hello.Best(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
