package sasl

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/scram"

	"virtls/internal/atomicfile"
	"virtls/internal/readfile"
	"virtls/layout"
)

// Iterations is how often the hash of a new password is made (RFC 7677, 4).
const Iterations = 15_000

// Bounds on a file of accounts.
const (
	maxAccounts   = 16 << 20 // octets
	maxUser       = 256
	minIterations = 4096
	maxSalt       = 64
	saltSize      = 16
)

// Accounts are users with verifiers of their passwords: what SCRAM keeps at a
// server, from which a password can only be guessed. They must not be changed
// while a Server uses them.
//
// In a file each line is a user's name, a blank and a verifier of one mechanism
// in the form of RFC 5803; empty lines and those that begin with # are comments:
//
//	fred SCRAM-SHA-256$15000:SALT$STOREDKEY:SERVERKEY
//
// A comment of the first lines has the key that unknown users' salts are made with,
// so that they are as lasting as those of known ones.
type Accounts struct {
	users map[string]map[string]scram.StoredCredentials // by user and mechanism
	guise []byte                                        // key of the salts of unknown users
}

// NewAccounts returns accounts of nobody.
func NewAccounts() *Accounts {
	a := &Accounts{users: map[string]map[string]scram.StoredCredentials{}, guise: make([]byte, guiseSize)}
	rand.Read(a.guise)
	return a
}

// checkUser tells what is wrong with a name.
func checkUser(name string) error {
	switch {
	case name == "" || len(name) > maxUser:
		return fmt.Errorf("a user's name has 1 to %d octets", maxUser)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a user's name is UTF-8 without control characters")
	case name[0] == '#' || strings.TrimSpace(name) != name:
		return errors.New("a user's name does not begin with #, and neither begins nor ends with a blank")
	}
	return nil
}

// Set makes an account, or gives it another password. There are verifiers for
// each SCRAM mechanism.
func (a *Accounts) Set(user string, password []byte) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if len(password) == 0 {
		return errors.New("a password is not empty")
	}
	made := map[string]scram.StoredCredentials{}
	for name := range hashes {
		salt := make([]byte, saltSize)
		rand.Read(salt)
		v, err := derive(name, user, password, scram.KeyFactors{Salt: string(salt), Iters: Iterations})
		if err != nil {
			return err
		}
		made[name] = v
	}
	a.users[user] = made
	return nil
}

func derive(mechanism, user string, password []byte, f scram.KeyFactors) (scram.StoredCredentials, error) {
	c, err := hashes[mechanism].NewClient(user, string(password), "")
	if err != nil {
		// The library's error may quote what it was given.
		return scram.StoredCredentials{}, errors.New("the user's name or the password has characters that SASLprep (RFC 4013) forbids")
	}
	return c.GetStoredCredentialsWithError(f)
}

// Remove removes an account and tells whether there was one.
func (a *Accounts) Remove(user string) bool {
	_, found := a.users[user]
	delete(a.users, user)
	return found
}

// Users lists the names, sorted.
func (a *Accounts) Users() []string { return slices.Sorted(maps.Keys(a.users)) }

// Mark returns what changes with a user's password, nil if there is no such user.
func (a *Accounts) Mark(user string) []byte {
	verifiers, ok := a.users[user]
	if !ok {
		return nil
	}
	mark := sha256.New()
	for _, mechanism := range slices.Sorted(maps.Keys(verifiers)) {
		mark.Write(verifiers[mechanism].StoredKey)
	}
	return mark.Sum(nil)
}

// Marshal returns the content of a file of accounts.
func (a *Accounts) Marshal() []byte {
	var out bytes.Buffer
	b64 := base64.StdEncoding.EncodeToString
	fmt.Fprintf(&out, "%s%s\n", guiseLine, b64(a.guise))
	for _, user := range a.Users() {
		for _, name := range slices.Sorted(maps.Keys(a.users[user])) {
			v := a.users[user][name]
			fmt.Fprintf(&out, "%s %s$%d:%s$%s:%s\n", user, name, v.Iters, b64([]byte(v.Salt)), b64(v.StoredKey), b64(v.ServerKey))
		}
	}
	return out.Bytes()
}

// Save replaces the file of accounts, which keeps its owner; only that may read it.
func (a *Accounts) Save(path string) error {
	var owner []atomicfile.Option
	if info, err := os.Stat(path); err == nil {
		stat := info.Sys().(*syscall.Stat_t)
		owner = append(owner, atomicfile.Owner(int(stat.Uid), int(stat.Gid)))
	}
	return atomicfile.Write(path, a.Marshal(), 0o600, owner...)
}

// LoadAccounts reads a file of accounts. It refuses one that others may read.
// The error is a *finding.Failure.
func LoadAccounts(path string) (*Accounts, error) {
	data, err := readfile.Kept(path, maxAccounts, 0o077)
	if open, ok := errors.AsType[*readfile.ModeError](err); ok {
		return nil, kindAccounts.Found(path, fmt.Sprintf("mode %04o", open.Mode)).WithWant("0600", "virtls").WithFix("chmod 600 %s", layout.ShellQuote(path)).Wrong()
	}
	if err != nil {
		return nil, cannotOpen(path, err)
	}
	a, err := ParseAccounts(data)
	if err != nil {
		return nil, kindAccounts.Found(path, err.Error()).Wrong()
	}
	return a, nil
}

// cannotOpen says why a file of accounts cannot be opened, and what helps.
func cannotOpen(path string, err error) error {
	f := kindAccounts.Found(path, "")
	if errors.Is(err, fs.ErrNotExist) {
		f = f.WithFix("virtls passwd add %s USER makes it", layout.ShellQuote(path))
		if dir := filepath.Dir(path); !exists(dir) {
			f = f.WithFix("make the directory first: mkdir %s", layout.ShellQuote(dir))
		}
	}
	return f.Unable(err)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ParseAccounts reads the content of a file of accounts.
func ParseAccounts(data []byte) (*Accounts, error) {
	a := NewAccounts()
	a.guise = guise[:]
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, guiseLine); ok {
			key, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(key) != guiseSize {
				return nil, fmt.Errorf("line %d: a key of %d octets in base64 follows %s", number, guiseSize, guiseLine)
			}
			a.guise = key
		}
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		if err := a.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return a, nil
}

func (a *Accounts) parseLine(line string) error {
	at := strings.LastIndexByte(line, ' ')
	if at < 0 {
		return errors.New("it is not USER VERIFIER")
	}
	user := line[:at]
	if err := checkUser(user); err != nil {
		return err
	}
	name, v, err := parseVerifier(line[at+1:])
	if err != nil {
		return err
	}
	if _, twice := a.users[user][name]; twice {
		return fmt.Errorf("a second verifier for %s of %q", name, user)
	}
	if a.users[user] == nil {
		a.users[user] = map[string]scram.StoredCredentials{}
	}
	a.users[user][name] = v
	return nil
}

// parseVerifier reads MECHANISM$ITERATIONS:SALT$STOREDKEY:SERVERKEY. Its errors
// do not quote it.
func parseVerifier(text string) (name string, v scram.StoredCredentials, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 3 || hashes[parts[0]] == nil {
		return "", v, fmt.Errorf("a verifier is MECHANISM$ITERATIONS:SALT$STOREDKEY:SERVERKEY, the mechanism being one of %s", strings.Join(slices.Sorted(maps.Keys(hashes)), ", "))
	}
	iterations, salt, ok1 := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	n, errN := strconv.Atoi(iterations)
	saltOctets, errSalt := base64.StdEncoding.DecodeString(salt)
	storedOctets, errStored := base64.StdEncoding.DecodeString(stored)
	serverOctets, errServer := base64.StdEncoding.DecodeString(server)
	size := hashes[parts[0]]().Size()
	switch {
	case !ok1 || !ok2 || cmp.Or(errN, errSalt, errStored, errServer) != nil:
		return "", v, errors.New("a verifier that is not in the form of RFC 5803")
	case n < minIterations || n > MaxIterations:
		return "", v, fmt.Errorf("%d iterations; there are to be %d to %d", n, minIterations, MaxIterations)
	case len(saltOctets) == 0 || len(saltOctets) > maxSalt || len(storedOctets) != size || len(serverOctets) != size:
		return "", v, errors.New("a salt or a key of a wrong length")
	}
	return parts[0], scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(saltOctets), Iters: n}, StoredKey: storedOctets, ServerKey: serverOctets,
	}, nil
}

// The line of a file with the key of unknown users' salts, and its size in octets.
const (
	guiseLine = "#salts-of-unknown-users "
	guiseSize = 32
)

// guise is that key as long as the process runs, if a file has none.
var guise = func() (key [guiseSize]byte) { rand.Read(key[:]); return key }()

// verifier returns that of a user, or one that nothing fits if there is no such
// user, so that a client does not learn who is known.
func (a *Accounts) verifier(user, mechanism string) scram.StoredCredentials {
	if v, ok := a.users[user][mechanism]; ok {
		return v
	}
	h := hmac.New(sha256.New, a.guise)
	fmt.Fprintf(h, "%s %s", mechanism, user)
	sum := h.Sum(nil)
	key := make([]byte, hashes[mechanism]().Size())
	rand.Read(key)
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(sum[:saltSize]), Iters: Iterations}, StoredKey: key, ServerKey: key,
	}
}

// check tells whether a password is a user's. It takes as long for a user who is
// unknown.
func (a *Accounts) check(user string, password []byte) bool {
	mechanism := ScramSHA512
	for _, name := range []string{ScramSHA1, ScramSHA256, ScramSHA512} {
		if _, ok := a.users[user][name]; ok {
			mechanism = name
		}
	}
	want := a.verifier(user, mechanism)
	got, err := derive(mechanism, user, password, want.KeyFactors)
	return err == nil && len(password) > 0 && subtle.ConstantTimeCompare(got.StoredKey, want.StoredKey) == 1
}
