package vnc

import (
	"testing"

	"virtls/internal/peertest"
)

// secrets are the passwords of this package's tests: no error, no finding and
// no program's output has them.
var secrets = peertest.Secrets{password, wrongPassword}

const wrongPassword = "f4lse-pw"

func TestMain(m *testing.M) { secrets.Main(m) }
