package machines

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"virtls/internal/atomicfile"
	"virtls/internal/readfile"
)

// A Token opens one machine for whoever has it. Files hold its hash, or name a
// file that holds the token itself.
type Token struct {
	Machine string    `yaml:"machine" help:"The machine that it opens."`
	SHA256  string    `yaml:"sha256,omitempty" help:"The token's SHA-256 in hexadecimal, as virtls gateway token writes it."`
	File    string    `yaml:"file,omitempty" help:"Instead: a file with the token, which only its owner may read."`
	Expires time.Time `yaml:"expires,omitempty" help:"When it ends, such as 2026-12-31T18:00:00Z; never if it is left out."`
	Once    bool      `yaml:"once,omitempty" help:"It may be used once."`

	hash [sha256.Size]byte
}

// Bounds on tokens: what can be guessed is none.
const (
	tokenSize = 32 // octets of a new one, before base64
	minToken  = 16
	maxToken  = 256
)

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// Why a token opens nothing. Whoever shows it is not told which it was.
var (
	ErrUnknown = errors.New("there is no such token for this machine")
	ErrExpired = errors.New("the token has expired")
	ErrUsed    = errors.New("the token may be used once, and was used")
)

// prepare checks a token as a file has it.
func (t *Token) prepare() error {
	switch {
	case t.Machine == "":
		return errors.New("a token needs the machine that it opens")
	case (t.SHA256 == "") == (t.File == ""):
		return errors.New("a token needs either sha256 or file")
	case t.File != "":
		secret, err := ReadSecret(t.File)
		if err == nil && (len(secret) < minToken || len(secret) > maxToken) {
			err = fmt.Errorf("%s: a token has %d to %d octets, so that it cannot be guessed", t.File, minToken, maxToken)
		}
		if err == nil && !tokenForm.Match(secret) {
			err = fmt.Errorf("%s: a token has letters, digits and -._~+/= alone (RFC 6750, 2.1)", t.File)
		}
		if err != nil {
			return err
		}
		t.hash = sha256.Sum256(secret)
		return nil
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("sha256 has %d hexadecimal digits; virtls gateway token makes tokens", 2*sha256.Size)
	}
	t.hash = [sha256.Size]byte(sum)
	return nil
}

// find returns the token that text is, if it opens the machine. How long it takes
// says nothing of the tokens.
func (l *List) find(machine, text string, now time.Time) (*Token, error) {
	hash := sha256.Sum256([]byte(text))
	var found *Token
	for i := range l.tokens {
		t := &l.tokens[i]
		if subtle.ConstantTimeCompare(t.hash[:], hash[:]) == 1 && (machine == "" || t.Machine == machine) {
			found = t
		}
	}
	switch {
	case found == nil:
		return nil, ErrUnknown
	case !found.Expires.IsZero() && !now.Before(found.Expires):
		return nil, ErrExpired
	}
	return found, nil
}

// NewToken makes a token for a machine, and the text that opens it.
func NewToken(machine string, expires time.Time, once bool) (t Token, text string) {
	random := make([]byte, tokenSize)
	rand.Read(random)
	text = base64.RawURLEncoding.EncodeToString(random)
	t = Token{Machine: machine, Expires: expires.UTC().Truncate(time.Second), Once: once, hash: sha256.Sum256([]byte(text))}
	if expires.IsZero() {
		t.Expires = time.Time{}
	}
	t.SHA256 = hex.EncodeToString(t.hash[:])
	return t, text
}

// tokenFile is what the names of files begin with that AddToken writes.
const tokenFile = "token-"

// named lists the files of a directory whose names begin and end so. It takes no
// pattern, of which the directory's own name could be a part.
func named(dir, begin, end string) (list []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begin) && strings.HasSuffix(e.Name(), end) {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	return list, err
}

// AddToken writes a token into a directory of machines, as a file of its own, and
// removes those of its files there whose tokens have expired.
func AddToken(dir string, t Token, now time.Time) error {
	old, err := named(dir, tokenFile, ".yaml")
	if err != nil {
		return err
	}
	for _, name := range old {
		if l, err := Load(name, nil); err == nil && len(l.machines) == 0 && len(l.tokens) == 1 && !l.tokens[0].Expires.IsZero() && !now.Before(l.tokens[0].Expires) {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	text, err := yaml.Marshal(map[string]any{"tokens": []Token{t}})
	if err != nil {
		return err
	}
	// The hash of 256 random bits is no secret, and the gateway's user must read it.
	return atomicfile.Write(filepath.Join(dir, tokenFile+t.SHA256[:16]+".yaml"), text, 0o644)
}

// YAML returns the token as an element of a file's list of tokens.
func (t Token) YAML() string {
	text, err := yaml.Marshal([]Token{t})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// maxSecret bounds a file with a password.
const maxSecret = 4 << 10

// ReadSecret reads a password or token from a file, without a newline at its end.
// It refuses a file that others may read, and what is no regular file. Errors do not
// hold the secret.
func ReadSecret(name string) ([]byte, error) {
	data, err := readfile.Kept(name, maxSecret, 0o077)
	if open, ok := errors.AsType[*readfile.ModeError](err); ok {
		return nil, fmt.Errorf("%s: others may read it (mode %04o); chmod 600 mends that", name, open.Mode)
	}
	if kind, ok := errors.AsType[*readfile.KindError](err); ok {
		return nil, fmt.Errorf("%s is %w", name, kind)
	}
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if len(data) == 0 {
		return nil, fmt.Errorf("%s: the first line is empty", name)
	}
	return data, nil
}
