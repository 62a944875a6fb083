package nbd

import (
	"fmt"
	"io"
)

// The data of an option is read piece by piece, each no longer than what is left
// and than what such a piece may be, so that a client cannot make the server
// hold more than a name.

// take reads octets of the option's data, which must be there.
func (n *negotiation) take(count uint32) ([]byte, error) {
	b := make([]byte, count)
	if _, err := io.ReadFull(n.conn, b); err != nil {
		return nil, endOf(err, "an option's data")
	}
	n.left -= count
	return b, nil
}

// takeNumber reads a number of 2 or 4 octets. ok is false if there is none; then
// the client has been told, and err is what came of that.
func (n *negotiation) takeNumber(size uint32) (v uint32, ok bool, err error) {
	if n.left < size {
		return 0, false, n.invalid("Inconsistent lengths in option %s", n.option)
	}
	b, err := n.take(size)
	if err != nil {
		return 0, false, err
	}
	for _, octet := range b {
		v = v<<8 | uint32(octet)
	}
	return v, true, nil
}

// takeString reads a length and a text. tooLong is said of a length that no text
// may have.
func (n *negotiation) takeString(tooLong string) (s string, ok bool, err error) {
	size, ok, err := n.takeNumber(4)
	if !ok {
		return "", false, err
	}
	switch {
	case size > maxString:
		return "", false, n.invalid(tooLong, size)
	case size > n.left:
		return "", false, n.invalid("Inconsistent lengths in option %s", n.option)
	}
	b, err := n.take(size)
	return string(b), err == nil, err
}

// takeQuery reads a query for metadata contexts. One that is longer than any
// context's name is for something that is not here, and passed over.
func (n *negotiation) takeQuery() (s string, ok bool, err error) {
	size, ok, err := n.takeNumber(4)
	if !ok {
		return "", false, err
	}
	if size > n.left {
		return "", false, n.invalid("Inconsistent lengths in option %s", n.option)
	}
	if size > uint32(len(baseAllocation)) {
		err := n.skip(size)
		return "", err == nil, err
	}
	b, err := n.take(size)
	return string(b), err == nil, err
}

func (n *negotiation) skip(count uint32) error {
	if _, err := io.CopyN(io.Discard, n.conn, int64(count)); err != nil {
		return endOf(err, "an option's data")
	}
	n.left -= count
	return nil
}

// drop passes over what is left of the option's data.
func (n *negotiation) drop() error { return n.skip(n.left) }

// reply sends an answer to the option.
func (n *negotiation) reply(t ReplyType, data []byte) error {
	b := make([]byte, 0, 20+len(data))
	b = be.AppendUint64(b, magicReply)
	b = be.AppendUint32(b, uint32(n.option))
	b = be.AppendUint32(b, uint32(t))
	b = be.AppendUint32(b, uint32(len(data)))
	if _, err := n.conn.Write(append(b, data...)); err != nil {
		return endOf(err, fmt.Sprintf("the answer to option %d (%s)", uint32(n.option), n.option))
	}
	return nil
}

// refuse answers an option by an error, after having read it whole.
func (n *negotiation) refuse(t ReplyType, format string, args ...any) error {
	if err := n.drop(); err != nil {
		return err
	}
	return n.reply(t, fmt.Appendf(nil, format, args...))
}

func (n *negotiation) invalid(format string, args ...any) error {
	return n.refuse(RepErrInvalid, format, args...)
}

func (n *negotiation) badLength() error {
	return n.invalid("option '%s' has unexpected length", n.option)
}
