package certtool

import (
	"fmt"

	"virtls/pki"
	"virtls/pki/certtemplate"
	"virtls/pki/certtext"
)

func (c *command) generateRequest() error {
	fmt.Fprintln(c.std.Err, "Generating a PKCS #10 certificate request...")
	key, err := c.loadKey("load-privkey")
	if err != nil {
		return err
	}
	if key == nil {
		if c.Has("load-pubkey") {
			return fail("--load-pubkey was specified without corresponding --load-privkey")
		}
		if key, err = c.newKey(); err != nil {
			return err
		}
		if err := c.writeKey(key); err != nil {
			return err
		}
	}
	in := certtemplate.RequestInput{PublicKey: key.Public(), NoExtensions: c.Has("no-crq-extensions")}
	template, err := c.requestTemplate(in)
	if err != nil {
		return err
	}
	spec, notes, err := template.Request(in)
	c.notes(notes)
	if err != nil {
		return err
	}
	s, err := signer(key)
	if err != nil {
		return err
	}
	alg, err := pki.PreferredSignature(key.Public(), c.hash)
	if err != nil {
		return fail("sign: %v", err)
	}
	r, err := pki.SignRequest(spec, s, alg)
	if err != nil {
		return fail("sign: %v", err)
	}
	return c.writeRequest(r)
}

// writeRequest shows a request and writes it.
func (c *command) writeRequest(r *pki.Request) error {
	log := c.std.Err
	if c.text() {
		log = c.out
		if err := certtext.Request(c.out, r, c.numbers()); err != nil {
			return err
		}
		fmt.Fprintln(c.out)
	}
	if r.CheckSignature() == nil {
		fmt.Fprint(log, "Self signature: verified\n\n")
	} else {
		fmt.Fprint(log, "Self signature: FAILED\n\n")
	}
	_, err := c.out.Write(c.encode(pki.PEMRequestOld, r.Raw))
	return err
}

// numbers says how numbers are shown.
func (c *command) numbers() certtext.Options {
	return certtext.Options{HexNumbers: c.Has("hex-numbers")}
}

func (c *command) requestInfo() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	r, why := request(data, c.Enabled("inder"))
	if why != "" {
		return fail("import error: %s", why)
	}
	return c.writeRequest(r)
}
