package tlsengine

import (
	"crypto"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// A suite is a cipher suite's parts.
type suite struct {
	id   wire.Suite
	aead record.AEAD
	hash crypto.Hash
}

var suites13 = []*suite{
	{wire.AES128GCMSHA256, record.AES128GCM, crypto.SHA256},
	{wire.ChaCha20Poly1305SHA256, record.ChaCha20Poly1305, crypto.SHA256},
	{wire.AES256GCMSHA384, record.AES256GCM, crypto.SHA384},
}

func suiteByID(id wire.Suite) *suite {
	for _, s := range suites13 {
		if s.id == id {
			return s
		}
	}
	return nil
}
