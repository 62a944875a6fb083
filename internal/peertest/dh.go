package peertest

import (
	"os"
	"path/filepath"
	"testing"
)

// DHParams is a file with the group ffdhe2048 (RFC 7919, A.1), as certtool
// --get-dh-params prints it.
const DHParams = `-----BEGIN DH PARAMETERS-----
MIIBDAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAgICAQA=
-----END DH PARAMETERS-----
`

// WithDH puts Diffie-Hellman parameters into a directory of QEMU's credential
// files, and returns its name. QEMU before 10.2 otherwise makes some, which takes
// it up to half a minute.
func WithDH(t testing.TB, dir string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "dh-params.pem"), []byte(DHParams), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
