package certtool

import (
	"crypto"
	"fmt"

	"virtls/pki"
	"virtls/pki/certtemplate"
	"virtls/pki/certtext"
)

// signer returns a private key as one that can sign.
func signer(key pki.PrivateKey) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if _, err := pki.PreferredSignature(key.Public(), 0); !ok || err != nil {
		return nil, fail("a key of type %s cannot sign", pki.AlgorithmOf(key.Public()))
	}
	return s, nil
}

// signature returns how a key is to sign: with --hash where it has the choice.
func (c *command) signature(public crypto.PublicKey) (pki.SignatureAlgorithm, error) {
	alg, err := pki.PreferredSignature(public, c.hash)
	if err != nil {
		return alg, fail("crt_sign: %v", err)
	}
	if c.pssSign && alg.Key == pki.RSA {
		alg.Key, alg.SaltLength = pki.RSAPSS, alg.Hash.Size()
	}
	return alg, nil
}

// An authority signs certificates and revocation lists.
type authority struct {
	cert *pki.Certificate
	key  crypto.Signer
}

func (c *command) loadIssuer() (a authority, err error) {
	key, err := c.needKey("load-ca-privkey")
	if err != nil {
		return a, err
	}
	if a.cert, err = c.loadAuthority(); err != nil {
		return a, err
	}
	if a.cert == nil {
		return a, fail("missing --load-ca-certificate")
	}
	a.key, err = signer(key)
	return a, err
}

// subjectKey returns the public key of a certificate or request that is being
// made: the one that belongs to the private key, or --load-pubkey.
func (c *command) subjectKey(private pki.PrivateKey) (crypto.PublicKey, error) {
	if private != nil {
		return private.Public(), nil
	}
	k, err := c.loadPublicKey()
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, fail("Could not determine the public key for the operation.\nYou must specify --load-privkey or --load-pubkey if missing.")
	case k.Key == nil:
		return nil, fail("certtool: the public key cannot be used: %v", k.Err)
	}
	return k.Key, nil
}

// specify collects what a certificate is to say, from the options, the
// template or the answers to questions. key is the subject's private key if
// there is one.
func (c *command) specify(issuer *pki.Certificate) (spec *pki.Spec, key pki.PrivateKey, err error) {
	in := certtemplate.CertInput{Clock: c.clock, Issuer: issuer, Version1: c.Has("v1")}
	if in.Request, err = c.loadRequest(); err != nil {
		return nil, nil, err
	}
	if in.Request == nil {
		if key, err = c.loadKey("load-privkey"); err != nil {
			return nil, nil, err
		}
		if in.PublicKey, err = c.subjectKey(key); err != nil {
			return nil, nil, err
		}
	} else if in.Request.PublicKey.Key == nil {
		return nil, nil, fail("set_crq: the key of the request cannot be used: %v", in.Request.PublicKey.Err)
	}
	template, serial, err := c.certificateTemplate(&in)
	if err != nil {
		return nil, nil, err
	}
	spec, notes, err := template.Certificate(in)
	if c.batch() { // else they were part of the conversation
		c.notes(notes)
	}
	if err != nil {
		return nil, nil, err
	}
	if spec.Serial == nil {
		spec.Serial = serial
	}
	return spec, key, c.checkKeyType(spec.PublicKey)
}

// checkKeyType refuses a key of another type than --key-type says.
func (c *command) checkKeyType(public crypto.PublicKey) error {
	have := pki.AlgorithmOf(public)
	switch {
	case !c.Has("key-type") && c.keyType == pki.RSA, c.keyType == have:
		return nil
	case have == pki.RSA && c.keyType == pki.RSAPSS:
		return unsupported("--key-type rsa-pss for an RSA key", "make an RSA-PSS key, or use --sign-params rsa-pss")
	}
	return fail("cannot set certificate type (%s) incompatible with the key (%s)", c.keyType, have)
}

// show prints a certificate that is about to be signed, and lets somebody at
// the terminal say no.
func (c *command) show(spec *pki.Spec) error {
	if err := certtext.Unsigned(c.log, spec); err != nil {
		return fail("certtool: %v", err)
	}
	fmt.Fprintln(c.log)
	if c.batch() || c.Has("stdout-info") {
		return nil
	}
	if ok, _ := c.askYesNo("Is the above information ok? (y/N): ", false); !ok {
		return fail("")
	}
	return nil
}

// sign signs a certificate and writes it. issuer has no certificate if the
// certificate is self-signed.
func (c *command) sign(spec *pki.Spec, issuer authority) error {
	alg, err := c.signature(issuer.key.Public())
	if err != nil {
		return err
	}
	cert, err := pki.Sign(spec, issuer.cert, issuer.key, alg)
	if err != nil {
		return fail("crt_sign: %v", err)
	}
	_, err = c.out.Write(c.encode(pki.PEMCertificate, cert.Raw))
	return err
}

func (c *command) generateSelfSigned() error {
	fmt.Fprintln(c.log, "Generating a self signed certificate...")
	spec, key, err := c.specify(nil)
	if err != nil {
		return err
	}
	if key == nil {
		if key, err = c.needKey("load-privkey"); err != nil {
			return err
		}
	}
	if err := c.show(spec); err != nil {
		return err
	}
	fmt.Fprint(c.log, "\n\nSigning certificate...\n")
	s, err := signer(key)
	if err != nil {
		return err
	}
	return c.sign(spec, authority{key: s})
}

func (c *command) generateCertificate() error {
	fmt.Fprintln(c.log, "Generating a signed certificate...")
	issuer, err := c.loadIssuer()
	if err != nil {
		return err
	}
	spec, _, err := c.specify(issuer.cert)
	if err != nil {
		return err
	}
	if err := c.show(spec); err != nil {
		return err
	}
	fmt.Fprint(c.log, "\n\nSigning certificate...\n")
	return c.sign(spec, issuer)
}

// updateCertificate gives a certificate new times, and a new key if there is one.
func (c *command) updateCertificate() error {
	fmt.Fprintln(c.log, "Generating a signed certificate...")
	issuer, err := c.loadIssuer()
	if err != nil {
		return err
	}
	old, err := c.loadCertificate()
	if err != nil {
		return err
	}
	spec := &pki.Spec{
		Version: old.Version, Serial: old.Serial, Subject: old.Subject, PublicKey: old.PublicKey.Key, Extensions: old.Extensions,
		IssuerUniqueID: old.IssuerUniqueID, SubjectUniqueID: old.SubjectUniqueID,
	}
	fmt.Fprintln(c.std.Err, "Activation/Expiration time.")
	if spec.NotBefore, spec.NotAfter, err = c.validity(); err != nil {
		return err
	}
	key, err := c.loadKey("load-privkey")
	if err != nil {
		return err
	}
	if key != nil || c.Has("load-pubkey") {
		fmt.Fprintln(c.std.Err, "Updating public key")
		if spec.PublicKey, err = c.subjectKey(key); err != nil {
			return err
		}
	}
	if spec.PublicKey == nil {
		return fail("certtool: the key of the certificate cannot be used: %v", old.PublicKey.Err)
	}
	fmt.Fprint(c.std.Err, "\n\nSigning certificate...\n")
	return c.sign(spec, issuer)
}
