package certtool

const (
	safeMode = "files that hold private keys belong to their owner alone"
	oldNames = "dropin.Tool has 3.7's messages, which name the program"
)

var differences = []difference{
	{step: "info no inder", why: "the last one of an option and its negation counts; theirs takes both for --inder"},
	{step: "key info, encrypted DER", why: safeMode, theirs: "o.der -rw-r--r--", ours: "o.der -rw-------"},
	{step: "to PKCS #8, plain", why: safeMode, theirs: "o.pem -rw-r--r--", ours: "o.pem -rw-------"},
	{step: "to PKCS #12", why: safeMode, theirs: "o.p12 -rw-r--r--", ours: "o.p12 -rw-------"},
	{step: "key info, EC from PKCS #8", ofOurFiles: true, why: "the curve, which PKCS #8 need not say twice, belongs into SEC 1: theirs copies the inner part as it is"},
	{step: "to PKCS #8, EC", why: "PKCS #8 says the curve already; theirs repeats it inside"},
	{step: "private key, X448", why: "theirs prints a number that stands for the curve",
		theirs: "Generating a -2147483628 bit", ours: "Generating a 448 bit"},
	{step: "request with a password, fixed", why: "the attributes are a SET OF, which DER has in the order of their encodings; theirs has them as they were set"},
	{step: "encrypted CA key, wrong PIN", why: "theirs blames the wrong file",
		theirs: "--load-privkey: ec.pem", ours: "--load-ca-privkey: enc.pem"},
	{step: "verify CRL without CA", generations: "trixie forky", why: oldNames,
		theirs: "verify-crl option", ours: "certtool: verify-crl option"},
	{step: "conflict", generations: "trixie forky", why: oldNames,
		theirs: "the 'generate", ours: "certtool: the 'generate"},
	{step: "number that is none", generations: "trixie forky", why: oldNames,
		theirs: "'foo' is not a recognizable number: Success", ours: "certtool: 'foo' is not a recognizable number."},
	{step: "certificate, attime", generations: "host", why: "--attime came with 3.8"},
	{step: "attime that is no time", generations: "host", why: "--attime came with 3.8"},
	{step: "unknown key format", generations: "host trixie", why: "--key-format came after 3.8.9"},
}
