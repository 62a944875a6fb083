// Package authz decides which peers may come in, by name, as QEMU's authorization
// objects and libvirt's tls_allowed_dn_list do.
//
// An identity is the text by which a peer is known after it has proved who it
// is: a certificate's subject in the form of [dn.Name.String], or a SASL user
// name. Identities that are not valid UTF-8 are denied by everything here, and
// so is everybody wherever a list cannot be had.
package authz

import (
	"unicode/utf8"

	"virtls/finding"
	"virtls/pki/dn"
)

// An Authorizer lets identities in or not. It may be used by any number of
// goroutines.
type Authorizer interface {
	// Allowed reports whether the identity may come in. An error says why the
	// question had no proper answer; the answer is false then.
	Allowed(identity string) (bool, error)
}

// A Policy says what becomes of a peer.
type Policy int

// The policies. Unless told otherwise QEMU's lists deny.
const (
	Deny Policy = iota
	Allow
)

var policies = []string{Deny: "deny", Allow: "allow"}

// String returns the policy's word in QEMU's syntax.
func (p Policy) String() string { return policies[p] }

// A Format says how a rule's text is compared with an identity.
type Format int

// The formats. Exact compares octets, Glob is [dn.Match].
const (
	Exact Format = iota
	Glob
)

var formats = []string{Exact: "exact", Glob: "glob"}

// String returns the format's word in QEMU's syntax.
func (f Format) String() string { return formats[f] }

var kindNotUTF8 = finding.Define("authz-identity-not-utf8", finding.Error,
	"the peer's name is not valid UTF-8, so nothing compares with it and the peer is denied",
	"give the peer a certificate whose subject is UTF-8")

// identify returns an error for an identity that nobody should be compared with.
func identify(identity string) error {
	if utf8.ValidString(identity) {
		return nil
	}
	return kindNotUTF8.Found("", "").WithText("the peer's name %+q is not valid UTF-8, so it is denied", identity).Wrong()
}

// Simple lets in the one identity that has the same octets (QEMU's
// authz-simple).
type Simple struct {
	Identity string
}

// Allowed implements [Authorizer].
func (s Simple) Allowed(identity string) (bool, error) {
	if err := identify(identity); err != nil {
		return false, err
	}
	return identity == s.Identity, nil
}

// A Rule is one line of a [List]. Its zero value denies the empty identity.
type Rule struct {
	Match  string
	Policy Policy
	Format Format
}

// matches reports whether the rule is about an identity.
func (r Rule) matches(identity string) bool {
	if r.Format == Glob {
		return dn.Match(r.Match, identity)
	}
	return r.Match == identity
}

// A List holds rules of which the first that matches decides, and a policy for
// those whom none matches (QEMU's authz-list). The zero List denies everybody.
// It must not be changed while it is used.
type List struct {
	Policy Policy
	Rules  []Rule
}

// Allowed implements [Authorizer].
func (l *List) Allowed(identity string) (bool, error) {
	if err := identify(identity); err != nil {
		return false, err
	}
	for _, r := range l.Rules {
		if r.matches(identity) {
			return r.Policy == Allow, nil
		}
	}
	return l.Policy == Allow, nil
}

// A DNList lets in whom one of its patterns matches, so nobody if it is empty
// (libvirt's tls_allowed_dn_list, 9.0 to 12.8; a daemon without the setting asks
// no list at all).
type DNList []string

// Allowed implements [Authorizer].
func (l DNList) Allowed(identity string) (bool, error) {
	if err := identify(identity); err != nil {
		return false, err
	}
	for _, pattern := range l {
		if dn.Match(pattern, identity) {
			return true, nil
		}
	}
	return false, nil
}
