package certtemplate

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
)

// hex returns the octets of an option that is hexadecimal digits.
func (t *Template) hex(name string) (value []byte, ok bool, err error) {
	e, ok := t.lookup(name)
	if !ok {
		return nil, false, nil
	}
	value, err = decodeHex(e.Value)
	return value, true, err
}

func decodeHex(digits string) ([]byte, error) {
	value, err := hex.DecodeString(digits)
	if err != nil {
		return nil, quit("error in hex ID: %s", digits)
	}
	return value, nil
}

// integer returns the octets of a serial or CRL number: those of its
// hexadecimal digits behind 0x, or eight for a decimal number.
func (t *Template) integer(name string) (value []byte, ok bool, err error) {
	e, ok := t.lookup(name)
	if !ok {
		return nil, false, nil
	}
	if digits, is := strings.CutPrefix(e.Value, "0x"); is {
		value, err := hex.DecodeString(digits)
		if err != nil || len(value) == 0 {
			return nil, true, quit("error parsing number: %s", e.Value)
		}
		return value, true, nil
	}
	n, rest := strtol(e.Value)
	switch {
	case rest != "":
		return nil, true, quit("Trailing garbage: `%s'\nerror parsing number: %s", rest, e.Value)
	case n <= 0 || n == math.MaxInt64:
		return nil, true, quit("Integer out of range: `%s' (min: 1, max: %d)\nerror parsing number: %s", e.Value, math.MaxInt64-1, e.Value)
	}
	return binary.BigEndian.AppendUint64(nil, uint64(n)), true, nil
}

// number returns the value of a numeric option: the digits at its beginning,
// so that "10y" is 10 and "y" is 0, cut down to 32 bits as C does it.
func (t *Template) number(name string, absent int32) int32 {
	e, ok := t.lookup(name)
	if !ok {
		return absent
	}
	n, _ := strtol(e.Value)
	return int32(n)
}

// strtol is C's function of that name for base 10 and 64 bits: it passes white
// space, takes what digits there are, and stops at the ends of the range. rest
// is what follows the digits, all of s if there are none.
func strtol(s string) (n int64, rest string) {
	digits := strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	rest = s
	for digits != "" && '0' <= digits[0] && digits[0] <= '9' {
		d := int64(digits[0] - '0')
		switch {
		case negative && n < (math.MinInt64+d)/10:
			n = math.MinInt64
		case negative:
			n = n*10 - d
		case n > (math.MaxInt64-d)/10:
			n = math.MaxInt64
		default:
			n = n*10 + d
		}
		digits = digits[1:]
		rest = digits
	}
	return n, rest
}
