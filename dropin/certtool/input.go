package certtool

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"virtls/pki"
	"virtls/pki/certtext"
)

// GnuTLS's words for what is wrong with a file.
const (
	noCertificate = "No certificate was found."
	noData        = "The requested data were not available."
	noHeader      = "Base64 unexpected header error."
	badBase64     = "Base64 decoding error."
	badPassword   = "Decryption has failed."
)

// Bounds on what is read, in octets.
const (
	maxInput    = 16 << 20        // files and standard input: more than any bundle of authorities has
	maxTemplate = pki.MaxFileSize // templates, of which each line takes many times its length
)

// errTooLarge says that there is more than so many octets.
type errTooLarge int

func (e errTooLarge) Error() string {
	return fmt.Sprintf("it is larger than %d MiB, the most that is read", int(e)>>20)
}

// A bounded reader fails with [errTooLarge] where there is more than its limit.
// It never passes the beginning of something off as the whole: of a revocation
// list the missing end matters.
type bounded struct {
	r           io.Reader
	limit, left int // octets: in all, and those that may still come
}

func newBounded(r io.Reader, limit int) *bounded { return &bounded{r, limit, limit} }

func (b *bounded) Read(p []byte) (int, error) {
	// One octet more than allowed tells a file that is too large from one that just fits.
	n, err := b.r.Read(p[:min(len(p), b.left+1)])
	if n > b.left {
		return 0, errTooLarge(b.limit)
	}
	b.left -= n
	return n, err
}

// fileContents reads a file of at most limit octets to the end.
func fileContents(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(newBounded(f, limit))
}

// inputOptions are where input comes from without --infile, by action.
var inputOptions = []struct{ action, option string }{
	{"certificate-info", "load-certificate"},
	{"crq-info", "load-request"},
	{"pubkey-info", "load-pubkey"},
	{"key-info", "load-privkey"},
	{"to-rsa", "load-privkey"},
	{"crl-info", "load-crl"},
}

func (c *command) openInput() error {
	name, ok := c.Last("infile")
	if !ok {
		for _, o := range inputOptions {
			if name, ok = c.Last(o.option); ok && c.Has(o.action) {
				break
			}
			ok = false
		}
	}
	if !ok {
		c.in = io.NopCloser(c.stdin)
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return fail("Cannot open %s for reading", name)
	}
	c.in = f
	return nil
}

// input reads --infile or what takes its place to the end.
func (c *command) input() ([]byte, error) {
	data, err := io.ReadAll(newBounded(c.in, maxInput))
	if err != nil {
		return nil, fail("cannot read the input: %v", err)
	}
	return data, nil
}

func tooLarge(option, name string, why errTooLarge) error {
	return fail("certtool: --%s: cannot read %s: %v", option, name, why)
}

// load reads the file that an option names. It returns nil without error if
// the option is not given; an empty file is not nil.
func (c *command) load(option string) ([]byte, error) {
	name, ok := c.Last(option)
	if !ok {
		return nil, nil
	}
	if scheme, _, _ := strings.Cut(name, ":"); scheme == "pkcs11" || scheme == "tpmkey" || scheme == "system" {
		return nil, unsupported("--"+option+" with a URL", "keys and certificates come from files")
	}
	data, err := fileContents(name, maxInput)
	if err == nil {
		return data, nil
	}
	if why, ok := errors.AsType[errTooLarge](err); ok {
		return nil, tooLarge(option, name, why)
	}
	switch {
	case option == "load-certificate", option == "load-crl":
		return nil, fail("Could not open %s", name)
	}
	return nil, fail("error reading file at --%s: %s", option, name)
}

// pemBlocks yields the PEM blocks that have one of the labels.
func pemBlocks(data []byte, labels []string) iter.Seq[*pem.Block] {
	return func(yield func(*pem.Block) bool) {
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if slices.Contains(labels, block.Type) && !yield(block) {
				return
			}
		}
	}
}

// blocks returns the DER of the PEM blocks that have one of the labels, or the
// data itself if it is DER. why is GnuTLS's reason if there are none.
func blocks(data []byte, isDER bool, labels ...string) (ders [][]byte, why string) {
	if isDER {
		return [][]byte{data}, ""
	}
	for block := range pemBlocks(data, labels) {
		ders = append(ders, block.Bytes)
	}
	if ders == nil {
		return nil, noHeader
	}
	return ders, ""
}

var certificateLabels = []string{pki.PEMCertificate, "X509 CERTIFICATE"}

// certificates reads all certificates in data.
func certificates(data []byte, isDER bool) (certs []*pki.Certificate, why string) {
	ders, why := blocks(data, isDER, certificateLabels...)
	if why != "" && !bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-")) && !bytes.Contains(data, []byte("-----BEGIN X509 CERT")) {
		why = noCertificate
	}
	for _, der := range ders {
		c, err := pki.ParseCertificate(der)
		if err != nil {
			return nil, certtext.Reason(der)
		}
		certs = append(certs, c)
	}
	return certs, why
}

// certificate reads the first certificate in data.
func certificate(data []byte, isDER bool) (*pki.Certificate, string) {
	ders, why := blocks(data, isDER, certificateLabels...)
	if why != "" {
		return nil, why
	}
	c, err := pki.ParseCertificate(ders[0])
	if err != nil {
		return nil, certtext.Reason(ders[0])
	}
	return c, ""
}

// loadCertificates reads all certificates of --load-certificate, which is
// always PEM.
func (c *command) loadCertificates() ([]*pki.Certificate, error) {
	c.verbose("Loading certificate list...")
	data, err := c.load("load-certificate")
	if data == nil {
		return nil, err
	}
	certs, why := certificates(data, false)
	if why != "" {
		return nil, fail("Error loading certificates: %s", why)
	}
	c.verbose("Loaded %d certificates.", len(certs))
	return certs, nil
}

// loadCertificate is loadCertificates for one that must be there.
func (c *command) loadCertificate() (*pki.Certificate, error) {
	certs, err := c.loadCertificates()
	if err != nil {
		return nil, err
	}
	if certs == nil {
		return nil, fail("missing --load-certificate")
	}
	return certs[0], nil
}

// loadAuthority reads --load-ca-certificate. It returns nil without error if
// the option is not given.
func (c *command) loadAuthority() (*pki.Certificate, error) {
	data, err := c.load("load-ca-certificate")
	if data == nil {
		return nil, err
	}
	cert, why := certificate(data, c.Enabled("inder"))
	if why != "" {
		return nil, fail("error importing CA certificate: %s: %s", c.value("load-ca-certificate"), why)
	}
	return cert, nil
}

// loadCRLs reads all lists of --load-crl, PEM or DER.
func (c *command) loadCRLs() (crls []*pki.CRL, err error) {
	c.verbose("Loading CRL list...")
	data, err := c.load("load-crl")
	if data == nil {
		return nil, err
	}
	ders, why := blocks(data, false, pki.PEMCRL)
	if why != "" {
		ders = [][]byte{data}
	}
	for _, der := range ders {
		crl, err := pki.ParseCRL(der)
		if err != nil {
			return nil, fail("Error loading CRLs: %s", certtext.Reason(der))
		}
		crls = append(crls, crl)
	}
	c.verbose("Loaded %d CRLs.", len(crls))
	return crls, nil
}

var requestLabels = []string{pki.PEMRequestOld, pki.PEMRequest}

// request reads a certificate request.
func request(data []byte, isDER bool) (*pki.Request, string) {
	ders, why := blocks(data, isDER, requestLabels...)
	if why != "" {
		return nil, why
	}
	r, err := pki.ParseRequest(ders[0])
	if err != nil {
		return nil, certtext.Reason(ders[0])
	}
	return r, ""
}

// loadRequest reads --load-request. It returns nil without error if the option
// is not given.
func (c *command) loadRequest() (*pki.Request, error) {
	data, err := c.load("load-request")
	if data == nil {
		return nil, err
	}
	r, why := request(data, c.Enabled("inder"))
	switch why {
	case "":
		return r, nil
	case noHeader:
		return nil, fail("import error: could not find a valid PEM header")
	}
	return nil, fail("error importing certificate request: %s: %s", c.value("load-request"), why)
}

// publicKey reads a public key.
func publicKey(data []byte, isDER bool) (*pki.PublicKey, string) {
	ders, why := blocks(data, isDER, pki.PEMPublicKey)
	if why != "" {
		return nil, why
	}
	k, err := pki.ParsePublicKey(ders[0])
	if err != nil {
		return nil, certtext.Reason(ders[0])
	}
	return k, ""
}

// loadPublicKey reads --load-pubkey, which may also be a certificate. It
// returns nil without error if the option is not given.
func (c *command) loadPublicKey() (*pki.PublicKey, error) {
	data, err := c.load("load-pubkey")
	if data == nil {
		return nil, err
	}
	k, why := publicKey(data, c.Enabled("inder"))
	switch why {
	case "":
		return k, nil
	case noHeader:
		if cert, why := certificate(data, c.Enabled("inder")); why == "" {
			return cert.PublicKey, nil
		}
		return nil, fail("import error: could not find a valid PEM header; check if your key has the PUBLIC KEY header")
	}
	return nil, fail("importing public key: %s: %s", c.value("load-pubkey"), why)
}
