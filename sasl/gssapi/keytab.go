package gssapi

import (
	"errors"
	"fmt"

	"virtls/internal/readfile"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

const maxKeytab = 1 << 20 // octets

// CheckKeytab tells whether a keytab can be used: whether it is there, has keys in
// the form of MIT's Kerberos, and is not everybody's.
func CheckKeytab(path string) error {
	_, err := readKeytab(path)
	return err
}

func readKeytab(path string) (*keytab.Keytab, error) {
	data, err := readfile.Kept(path, maxKeytab, 0o007)
	if open, ok := errors.AsType[*readfile.ModeError](err); ok {
		return nil, fmt.Errorf("the keytab %s has the mode %04o: its keys are everybody's; chmod o= mends that", path, open.Mode)
	}
	if err != nil {
		return nil, err
	}
	keys := keytab.New()
	if err := guarded(func() error { return keys.Unmarshal(data) }); err != nil {
		return nil, fmt.Errorf("the keytab %s cannot be read", path)
	}
	return keys, nil
}
