package pki

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// What foreign files hold may be as long as the files, and stands in messages
// that are made by the thousand: they quote the beginning.
const (
	maxQuoted = 200 // octets
	maxListed = 8   // members of a list
)

// brief cuts a text for messages.
func brief(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "..."
}

// briefQuote is brief for text that is to be quoted.
func briefQuote(b []byte) string {
	if len(b) <= maxQuoted {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q...", b[:maxQuoted])
}

// briefHex writes octets in hexadecimal for messages.
func briefHex(b []byte) string {
	if len(b) <= maxQuoted {
		return hex.EncodeToString(b)
	}
	return hex.EncodeToString(b[:maxQuoted]) + "..."
}

// briefSerial writes a serial number in hexadecimal for messages.
func briefSerial(n *big.Int) string {
	if n == nil || n.BitLen() <= 8*maxQuoted {
		return fmt.Sprintf("%x", n)
	}
	return fmt.Sprintf("of %d octets", (n.BitLen()+7)/8)
}

// briefList joins the first members of a list of n.
func briefList(n int, member func(int) string) string {
	list := make([]string, 0, maxListed+1)
	for i := range min(n, maxListed) {
		list = append(list, member(i))
	}
	if n > maxListed {
		list = append(list, fmt.Sprintf("and %d more", n-maxListed))
	}
	return strings.Join(list, ", ")
}
