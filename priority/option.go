package priority

// Options are what the %-words of a string say. The zero value is GnuTLS's
// default. Some have a meaning only for versions and features that no engine
// of virtls has; they are kept so that nobody is told less than the string says.
type Options struct {
	ServerPrecedence    bool // the server's order of suites counts, not the client's
	NoTickets           bool // no session tickets
	NoTicketsTLS12      bool // none before TLS 1.3; PFS sets it too
	NoExtensions        bool // no extensions in the hello; rules TLS 1.3 out
	NoStatusRequest     bool // the client does not ask for OCSP answers (3.8.0)
	NoShuffleExtensions bool // the client's extensions keep their order (3.8.1)
	FallbackSCSV        bool // the client says that it retries with an older version (RFC 7507)
	NoTLS13Compat       bool // no middlebox compatibility mode (RFC 8446 appendix D.4)
	LatestRecordVersion bool // the first record has the newest version instead of the oldest
	NoEncryptThenMAC    bool // RFC 7366 is not negotiated
	ForceEncryptThenMAC bool // CBC suites only with RFC 7366
	NoSessionHash       bool // extended master secret (RFC 7627) is not negotiated
	ForceSessionHash    bool // and is demanded before TLS 1.3 (3.8.1; also tls-session-hash)
	Renegotiation       Renegotiation
	AllowLargeRecords   bool // records longer than the standard allows
	AllowSmallRecords   bool // peers may ask for records below 512 bytes
	AllowKeyUsage       bool // a certificate's key usage is not enforced
	AllowServerKeyUsage bool // that of a server's certificate is not
	DumbFirewall        bool // the hello is padded past 256 bytes
	NoWildcards         bool // no wildcards in certificates' names
	AllowBroken         bool // broken signature algorithms in chains
	AllowSignRSAMD5     bool // RSA with MD5 in chains
	AllowSignSHA1       bool // SHA-1 in chains
	NoCRLChecks         bool // revocation lists are not looked at
}

// Renegotiation is how strict a session is about RFC 5746.
type Renegotiation int

// The choices of renegotiation.
const (
	PartialRenegotiation  Renegotiation = iota // safe renegotiation is offered, and demanded by clients
	SafeRenegotiation                          // demanded by servers too
	UnsafeRenegotiation                        // renegotiation without it is allowed
	DisabledRenegotiation                      // the extension is not used
)

// An option is a %-word. Its name is compared exactly, unlike all other words.
type option struct {
	name  string
	since release
	set   func(*machine)
}

func flag(field func(*Options) *bool) func(*machine) {
	return func(m *machine) { *field(&m.options) = true }
}

func renegotiation(r Renegotiation) func(*machine) {
	return func(m *machine) { m.options.Renegotiation = r }
}

func setProfile(p profile) func(*machine) {
	return func(m *machine) { m.profile, m.level = p, profiles[p].level }
}

var options = []option{
	{name: "COMPAT", set: func(m *machine) {
		o := &m.options
		o.AllowLargeRecords, o.AllowSmallRecords, o.NoEncryptThenMAC = true, true, true
		o.NoSessionHash, o.AllowKeyUsage, o.DumbFirewall = true, true, true
	}},
	{name: "DUMBFW", set: flag(func(o *Options) *bool { return &o.DumbFirewall })},
	{name: "NO_EXTENSIONS", set: flag(func(o *Options) *bool { return &o.NoExtensions })},
	{name: "NO_TICKETS", set: flag(func(o *Options) *bool { return &o.NoTickets })},
	{name: "NO_TICKETS_TLS12", set: flag(func(o *Options) *bool { return &o.NoTicketsTLS12 })},
	{name: "NO_ETM", set: flag(func(o *Options) *bool { return &o.NoEncryptThenMAC })},
	{name: "FORCE_ETM", set: flag(func(o *Options) *bool { return &o.ForceEncryptThenMAC })},
	{name: "NO_SESSION_HASH", set: flag(func(o *Options) *bool { return &o.NoSessionHash })},
	{name: "FORCE_SESSION_HASH", since: r389, set: flag(func(o *Options) *bool { return &o.ForceSessionHash })},
	{name: "NO_STATUS_REQUEST", since: r389, set: flag(func(o *Options) *bool { return &o.NoStatusRequest })},
	{name: "NO_SHUFFLE_EXTENSIONS", since: r389, set: flag(func(o *Options) *bool { return &o.NoShuffleExtensions })},
	{name: "STATELESS_COMPRESSION"},
	{name: "VERIFY_ALLOW_BROKEN", set: flag(func(o *Options) *bool { return &o.AllowBroken })},
	{name: "VERIFY_ALLOW_SIGN_RSA_MD5", set: flag(func(o *Options) *bool { return &o.AllowSignRSAMD5 })},
	{name: "VERIFY_ALLOW_SIGN_WITH_SHA1", set: flag(func(o *Options) *bool { return &o.AllowSignSHA1 })},
	{name: "VERIFY_DISABLE_CRL_CHECKS", set: flag(func(o *Options) *bool { return &o.NoCRLChecks })},
	{name: "VERIFY_ALLOW_X509_V1_CA_CRT"},
	{name: "SSL3_RECORD_VERSION", set: func(m *machine) { m.options.LatestRecordVersion = false }},
	{name: "LATEST_RECORD_VERSION", set: flag(func(o *Options) *bool { return &o.LatestRecordVersion })},
	{name: "UNSAFE_RENEGOTIATION", set: renegotiation(UnsafeRenegotiation)},
	{name: "SAFE_RENEGOTIATION", set: renegotiation(SafeRenegotiation)},
	{name: "PARTIAL_RENEGOTIATION", set: renegotiation(PartialRenegotiation)},
	{name: "DISABLE_SAFE_RENEGOTIATION", set: renegotiation(DisabledRenegotiation)},
	{name: "FALLBACK_SCSV", set: flag(func(o *Options) *bool { return &o.FallbackSCSV })},
	{name: "DISABLE_WILDCARDS", set: flag(func(o *Options) *bool { return &o.NoWildcards })},
	{name: "SERVER_PRECEDENCE", set: flag(func(o *Options) *bool { return &o.ServerPrecedence })},
	{name: "PROFILE_VERY_WEAK", set: setProfile(veryWeakProfile)},
	{name: "PROFILE_LOW", set: setProfile(lowProfile)},
	{name: "PROFILE_LEGACY", set: setProfile(legacyProfile)},
	{name: "PROFILE_MEDIUM", set: setProfile(mediumProfile)},
	{name: "PROFILE_HIGH", set: setProfile(highProfile)},
	{name: "PROFILE_ULTRA", set: setProfile(ultraProfile)},
	{name: "PROFILE_FUTURE", set: setProfile(futureProfile)},
	{name: "PROFILE_SUITEB128", set: setProfile(suiteB128Profile)},
	{name: "PROFILE_SUITEB192", set: setProfile(suiteB128Profile)}, // so it is in every release up to 3.8.13
	{name: "NEW_PADDING"},
	{name: "DEBUG_ALLOW_KEY_USAGE_VIOLATIONS", set: flag(func(o *Options) *bool { return &o.AllowServerKeyUsage })},
	{name: "ALLOW_SMALL_RECORDS", set: flag(func(o *Options) *bool { return &o.AllowSmallRecords })},
	{name: "DISABLE_TLS13_COMPAT_MODE", set: flag(func(o *Options) *bool { return &o.NoTLS13Compat })},
}
