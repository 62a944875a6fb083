package sasl

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ParseSASLDB reads what Berkeley DB's db_dump prints of a database of Cyrus
// SASL (lib/sasldb: the key is user, realm and property with NULs between), and
// returns the passwords, which Cyrus keeps in clear, by user. An empty realm
// stands for all; a user who is in two of them with two passwords is refused.
// Errors hold no password.
func ParseSASLDB(dump []byte, realm string) (map[string][]byte, error) {
	head, body, ok := strings.Cut(string(dump), "HEADER=END\n")
	if !ok || !strings.Contains(head, "format=bytevalue\n") {
		return nil, errors.New("this is not what db_dump prints without options")
	}
	body, _, ok = strings.Cut(body, "DATA=END")
	if !ok {
		return nil, errors.New("the dump has no end")
	}
	lines := strings.Fields(body)
	if len(lines)%2 != 0 {
		return nil, errors.New("a key without a value")
	}
	found := map[string][]byte{}
	for i := 0; i < len(lines); i += 2 {
		key, err := hex.DecodeString(lines[i])
		if err != nil {
			return nil, errors.New("a key that is not in hexadecimal digits")
		}
		password, err := hex.DecodeString(lines[i+1])
		if err != nil {
			return nil, errors.New("a value that is not in hexadecimal digits")
		}
		parts := strings.Split(string(key), "\x00")
		if len(parts) != 3 || parts[2] != "userPassword" || realm != "" && parts[1] != realm {
			continue
		}
		if other, twice := found[parts[0]]; twice && !bytes.Equal(other, password) {
			return nil, fmt.Errorf("%q has different passwords in several realms: name one", parts[0])
		}
		found[parts[0]] = password
	}
	return found, nil
}
