package tlsengine

// Limits bound what a peer may cost. They can be set lower than they are by
// default, and not higher: a larger value, and 0, stand for the default.
type Limits struct {
	// Message is the largest handshake message, in octets: 128 KiB. A chain of
	// three ML-DSA-87 certificates has 22 KiB.
	Message int
	// Handshake is the size of all messages of a handshake, in octets: 512 KiB.
	Handshake int
	// Chain is the largest number of certificates: 64.
	Chain int
	// IdleRecords is how many records in a row may carry nothing: empty ones,
	// tickets, requests to renegotiate. 32.
	IdleRecords int
	// Warnings is how many alerts in a row may end nothing: 4.
	Warnings int
	// ChangeCipherSpecs is how many of them may come in TLS 1.3's compatibility
	// mode: 16.
	ChangeCipherSpecs int
	// KeyUpdates is how many the peer may send in a second: 32. GnuTLS takes 8
	// (lib/tls13/key_update.c).
	KeyUpdates int
	// EarlyData is how much of a client's early data a server skips, in octets
	// of its records: 64 KiB. It is never read.
	EarlyData int
	// RecordsPerKey is after how many records this side changes its key in TLS
	// 1.3: 2^24 - 3 with AES-GCM, as GnuTLS has it (RFC 8446, section 5.5 allows
	// 2^24.5). Keys of ChaCha20 last for ever, unless this is set.
	RecordsPerKey int
}

var defaultLimits = Limits{
	Message: 128 << 10, Handshake: 512 << 10, Chain: 64, IdleRecords: 32, Warnings: 4, ChangeCipherSpecs: 16, KeyUpdates: 32,
	EarlyData: 64 << 10, RecordsPerKey: 1<<24 - 3,
}

// complete fills in the defaults. RecordsPerKey stays 0: its default depends on
// the suite.
func (l Limits) complete() Limits {
	lower := func(limit *int, most int) {
		if *limit <= 0 || *limit > most {
			*limit = most
		}
	}
	d := defaultLimits
	lower(&l.Message, d.Message)
	lower(&l.Handshake, d.Handshake)
	lower(&l.Chain, d.Chain)
	lower(&l.IdleRecords, d.IdleRecords)
	lower(&l.Warnings, d.Warnings)
	lower(&l.ChangeCipherSpecs, d.ChangeCipherSpecs)
	lower(&l.KeyUpdates, d.KeyUpdates)
	lower(&l.EarlyData, d.EarlyData)
	if l.RecordsPerKey < 0 || l.RecordsPerKey > d.RecordsPerKey {
		l.RecordsPerKey = 0
	}
	return l
}
