package certtool

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtls/pki"
	"virtls/pki/certtemplate"
)

// A questionnaire asks for what a template would say. The answers are entries
// of a template, so that they mean the same.
type questionnaire struct {
	c       *command
	entries []certtemplate.Entry
}

func (q *questionnaire) add(key, value string) {
	q.entries = append(q.entries, certtemplate.Entry{Name: key, Value: value})
}

func (q *questionnaire) template() *certtemplate.Template {
	return &certtemplate.Template{Name: "answers", Entries: q.entries}
}

// ask returns the answer to a question, "" for none. more is false where
// standard input ends.
func (c *command) ask(prompt string) (answer string, more bool) {
	fmt.Fprint(c.std.Err, prompt)
	line, err := c.readLine()
	return line, err == nil
}

// readLine reads a line of standard input, without its end. The error is
// [io.EOF] where there is none. Any other makes the whole run fail, whatever
// becomes of the question.
func (c *command) readLine() (string, error) {
	line, err := c.stdin.ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.stdinErr = fail("certtool: cannot read standard input: %v", err)
		return "", c.stdinErr
	}
	return strings.TrimRight(line, "\r\n"), err
}

// errEnd is what happens where the real certtool would ask for ever.
func errEnd() error {
	return fail("\ncerttool: standard input ends where an answer is needed; answer in advance with --template")
}

// askYesNo takes nothing, or the end of input, for the default.
func (c *command) askYesNo(prompt string, otherwise bool) (yes, more bool) {
	for {
		answer, more := c.ask(prompt)
		switch {
		case answer == "":
			return otherwise, more
		case strings.EqualFold(answer[:1], "y"):
			return true, more
		case strings.EqualFold(answer[:1], "n"):
			return false, more
		}
	}
}

// text asks for the value of a key.
func (q *questionnaire) text(key, prompt string) (answered bool) {
	answer, _ := q.c.ask(prompt)
	if answer != "" {
		q.add(key, answer)
	}
	return answer != ""
}

// list asks for values of a key until there is no answer.
func (q *questionnaire) list(key, what string) {
	prompt := "Enter a " + what + ": "
	for q.text(key, prompt) {
		prompt = "Enter an additional " + what + ": "
	}
}

// flag asks whether a key is to be there.
func (q *questionnaire) flag(key, prompt string, otherwise bool) bool {
	hint := " (y/N): "
	if otherwise {
		hint = " (Y/n): "
	}
	yes, _ := q.c.askYesNo(prompt+hint, otherwise)
	if yes {
		q.add(key, "")
	}
	return yes
}

// days asks for a number of days, which must not be 0.
func (c *command) days(prompt string) (string, error) {
	for {
		answer, more := c.ask(prompt)
		n, err := strconv.ParseInt(strings.TrimSpace(answer), 0, 32)
		switch {
		case err == nil && n != 0:
			return strconv.FormatInt(n, 10), nil
		case !more:
			return "", errEnd()
		case answer != "" && err != nil:
			fmt.Fprintf(c.std.Err, "Trailing garbage ignored: `%s\n'\n", answer)
		}
	}
}

// serial asks for a number and offers one.
func (c *command) serial(label, section string, offer *big.Int) (*big.Int, error) {
	for {
		answer, more := c.ask(fmt.Sprintf("Enter the %s in decimal (123) or hex (0xabcd)\n(default is 0x%x)\nvalue: ", label, offer))
		if answer == "" {
			return offer, nil
		}
		n, ok := new(big.Int).SetString(answer, 0)
		switch {
		case !ok || n.Sign() <= 0:
			fmt.Fprintf(c.std.Err, "error parsing %s: %s\n", label, answer)
		case n.BitLen() >= 160:
			fmt.Fprintf(c.std.Err, "%s would be encoded in more than 20 bytes,see RFC 5280, section %s\n", label, section)
		default:
			return n, nil
		}
		if !more {
			return nil, errEnd()
		}
	}
}

// name asks for the parts of the subject.
func (q *questionnaire) name() {
	q.text("country", "Country name (2 chars): ")
	q.text("state", "State or province name: ")
	q.text("locality", "Locality name: ")
	q.text("organization", "Organization name: ")
	q.text("unit", "Organizational unit name: ")
	q.text("cn", "Common name: ")
	q.text("uid", "UID: ")
	prompt := "Enter the subject's domain component (DC): "
	for q.text("dc", prompt) {
		prompt = "Enter an additional domain component (DC): "
	}
}

// hosts asks for the names and addresses of the subject.
func (q *questionnaire) hosts() {
	q.list("dns_name", "dnsName of the subject of the certificate")
	q.list("uri", "URI of the subject of the certificate")
	q.text("ip_address", "Enter the IP address of the subject of the certificate: ")
}

func (q *questionnaire) email() {
	q.text("email", "Enter the e-mail of the subject of the certificate: ")
}

// authority asks whether the subject is one.
func (q *questionnaire) authority() bool {
	if !q.flag("ca", "Does the certificate belong to an authority?", false) {
		return false
	}
	answer, _ := q.c.ask("Path length constraint (decimal, -1 for no constraint): ")
	if answer == "" {
		answer = "-1"
	}
	q.add("path_len", answer)
	return true
}

func (q *questionnaire) signs(server bool) {
	use := "required for TLS"
	if server {
		use = "DHE ciphersuites"
	}
	q.flag("signing_key", "Will the certificate be used for signing ("+use+")?", true)
}

func (q *questionnaire) encrypts(server bool) {
	use := "not required for TLS"
	if server {
		use = "RSA ciphersuites"
	}
	q.flag("encryption_key", "Will the certificate be used for encryption ("+use+")?", true)
}

// purposes asks for the uses that no TLS needs, in the order given.
func (q *questionnaire) purposes(keys ...string) {
	for _, key := range keys {
		q.flag(key, map[string]string{
			"data_encipherment":    "Will the certificate be used for data encryption?",
			"ocsp_signing_key":     "Will the certificate be used to sign OCSP requests?",
			"code_signing_key":     "Will the certificate be used to sign code?",
			"time_stamping_key":    "Will the certificate be used for time stamping?",
			"email_protection_key": "Will the certificate be used for email protection?",
			"ipsec_ike_key":        "Will the certificate be used for IPsec IKE operations?",
			"tls_www_client":       "Is this a TLS web client certificate?",
			"tls_www_server":       "Is this a TLS web server certificate?",
		}[key], false)
	}
}

func (q *questionnaire) has(key string) bool {
	return slices.ContainsFunc(q.entries, func(e certtemplate.Entry) bool { return e.Name == key })
}

func (q *questionnaire) authorityUses() {
	q.flag("cert_signing_key", "Will the certificate be used to sign other certificates?", true)
	q.flag("crl_signing_key", "Will the certificate be used to sign CRLs?", false)
}

// expiration asks when a certificate ends. One that would outlive its issuer
// is asked for again unless that is meant.
func (q *questionnaire) expiration(in certtemplate.CertInput) error {
	const key = "expiration_days"
	for {
		days, err := q.c.days("The certificate will expire in (days): ")
		if err != nil {
			return err
		}
		trial := &certtemplate.Template{Entries: []certtemplate.Entry{{Name: key, Value: days}}}
		_, notes, err := trial.Certificate(in)
		if err != nil {
			return err
		}
		q.c.notes(notes)
		if len(notes) > 0 {
			if ok, more := q.c.askYesNo("Is it ok to proceed? (y/N): ", false); !ok && !more {
				return errEnd()
			} else if !ok {
				continue
			}
		}
		q.add(key, days)
		return nil
	}
}

// certificateTemplate returns the template or asks. serial is for the
// certificate if the template has none.
func (c *command) certificateTemplate(in *certtemplate.CertInput) (t *certtemplate.Template, serial *big.Int, err error) {
	if c.batch() {
		return c.template, pki.NewSerial(), nil
	}
	q := &questionnaire{c: c}
	if in.Request == nil {
		fmt.Fprintln(c.std.Err, "Please enter the details of the certificate's distinguished name. Just press enter to ignore a field.")
		q.name()
		fmt.Fprintln(c.std.Err, "This field should not be used in new certificates.")
		q.text("pkcs9_email", "E-mail: ")
	}
	if serial, err = c.serial("certificate's serial number", "4.1.2.2", pki.NewSerial()); err != nil {
		return nil, nil, err
	}
	fmt.Fprint(c.std.Err, "\n\nActivation/Expiration time.\n")
	if err := q.expiration(*in); err != nil {
		return nil, nil, err
	}
	fmt.Fprint(c.std.Err, "\n\nExtensions.\n")
	if in.Request != nil {
		q.flag("honor_crq_extensions", "Do you want to honour all the extensions from the request?", false)
	}
	if !in.Version1 {
		q.version3(subjectKey(in))
	}
	prompt := "Enter the URI of the CRL distribution point: "
	for q.text("crl_dist_points", prompt) {
		prompt = "Enter an additional URI of the CRL distribution point: "
	}
	return q.template(), serial, nil
}

func subjectKey(in *certtemplate.CertInput) crypto.PublicKey {
	if in.Request != nil {
		return in.Request.PublicKey.Key
	}
	return in.PublicKey
}

// version3 asks for what becomes extensions.
func (q *questionnaire) version3(key crypto.PublicKey) {
	ca := q.authority()
	q.purposes("tls_www_client", "ipsec_ike_key", "tls_www_server")
	server := q.has("tls_www_server")
	q.hosts()
	if !server {
		q.email()
	}
	switch {
	case ca && !server:
		q.signs(false)
	case pki.AlgorithmOf(key) == pki.RSA:
		q.signs(server)
		q.encrypts(server)
	}
	q.purposes("data_encipherment", "ocsp_signing_key", "code_signing_key", "time_stamping_key", "email_protection_key")
	if ca {
		q.authorityUses()
	}
}

// requestTemplate returns the template or asks.
func (c *command) requestTemplate(in certtemplate.RequestInput) (*certtemplate.Template, error) {
	if c.batch() && !c.Has("ask-pass") {
		return c.template, nil
	}
	q := &questionnaire{c: c}
	if c.batch() {
		q.entries = slices.DeleteFunc(slices.Clone(c.template.Entries), func(e certtemplate.Entry) bool { return e.Name == "challenge_password" })
	} else {
		q.name()
		q.hosts()
		q.email()
	}
	password, err := c.askPassword("Enter a challenge password: ")
	if err != nil {
		return nil, err
	}
	if password != "" {
		q.add("challenge_password", password)
	}
	if c.batch() || in.NoExtensions {
		return q.template(), nil
	}
	ca := q.authority()
	if pki.AlgorithmOf(in.PublicKey) == pki.RSA {
		q.signs(true)
	}
	q.encrypts(true)
	q.purposes("code_signing_key", "time_stamping_key", "email_protection_key", "ipsec_ike_key", "ocsp_signing_key")
	if ca {
		q.authorityUses()
	}
	q.purposes("tls_www_client", "tls_www_server")
	return q.template(), nil
}

// crlValues returns what the template says about a list, or asks.
func (c *command) crlValues() (*certtemplate.CRLValues, error) {
	if c.batch() {
		return c.template.CRL(c.clock)
	}
	days, err := c.days("The next CRL will be issued in (days): ")
	if err != nil {
		return nil, err
	}
	q := &questionnaire{c: c}
	q.add("crl_next_update", days)
	values, err := q.template().CRL(c.clock)
	if err != nil {
		return nil, err
	}
	values.Number, err = c.serial("CRL's serial number", "5.2.3", certtemplate.NewCRLNumber(c.clock.Now, random11()))
	return values, err
}

// validity returns the times that the template says, or asks for the end.
func (c *command) validity() (notBefore, notAfter time.Time, err error) {
	t := c.template
	if !c.batch() {
		days, err := c.days("The certificate will expire in (days): ")
		if err != nil {
			return notBefore, notAfter, err
		}
		q := &questionnaire{c: c}
		q.add("expiration_days", days)
		t = q.template()
	}
	return t.Validity(c.clock)
}
