package sasl

import (
	"testing"

	"virtls/internal/peertest"
)

// secrets are the passwords of this package's tests: no error, no finding and
// nothing printed has them.
var secrets = peertest.Secrets{secret, otherSecret, wrongSecret}

const (
	secret      = "s3cret-Pw"
	otherSecret = "an0ther-Pw"
	wrongSecret = "f4lse-Pw"
)

func TestMain(m *testing.M) { secrets.Main(m) }
