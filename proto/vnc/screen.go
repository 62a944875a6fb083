package vnc

import (
	"bufio"
	"context"
	"encoding/binary"
	"image"
	"io"
	"net"
	"virtls/finding"
)

// Bounds on a screen.
const (
	maxSide     = 1 << 14
	maxPixels   = 1 << 25 // more than 7680 by 4320, in octets 128 MiB
	maxSizes    = 8       // that a screen has before its picture is complete
	maxName     = 4 << 10
	maxCutText  = 1 << 20
	maxMessages = 1 << 12 // of a server before its picture is complete
)

// Messages and encodings (RFC 6143, 7.4 to 7.8).
const (
	clientSetPixelFormat = 0
	clientSetEncodings   = 2
	clientUpdateRequest  = 3

	serverUpdate     = 0
	serverColourMap  = 1
	serverBell       = 2
	serverCutText    = 3
	encodingRaw      = 0
	encodingDesktop  = -223 // DesktopSize: the screen has another size now
	pixelFormatSize  = 16
	bytesPerPixel    = 4
	rectangleSize    = 12
	updateHeaderSize = 3
)

// ourFormat is the pixel format that is asked for: 32 bits, blue first, so that
// each octet is a colour (RFC 6143, 7.4).
var ourFormat = [pixelFormatSize]byte{32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0}

// A Screen is what a viewer sees. It is used by one goroutine at a time.
type Screen struct {
	Name          string // as the server has it
	Width, Height int

	conn    net.Conn
	subject string
	wire    wire
}

// buffered is a connection that is read through a buffer.
type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// NewScreen goes on as a viewer where a login has ended. Shared leaves other
// viewers their connections.
func NewScreen(ctx context.Context, c *Conn, shared bool) (*Screen, error) {
	s := &Screen{conn: c.Conn, subject: subjectOf(c.Conn, "")}
	s.wire.Conn = buffered{c.Conn, bufio.NewReaderSize(c.Conn, 16<<10)}
	err := within(ctx, s.conn, s.subject, func(context.Context) error {
		w := &s.wire
		flag := byte(0)
		if shared {
			flag = 1
		}
		w.send(flag)
		size := w.bytes(4)
		w.bytes(pixelFormatSize)
		s.resize(int(binary.BigEndian.Uint16(size)), int(binary.BigEndian.Uint16(size[2:])))
		s.Name = finding.Printable(string(w.block(maxName, "a screen's name")))
		return w.err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Screen) resize(width, height int) {
	if width > maxSide || height > maxSide || width*height > maxPixels {
		s.wire.fail("a screen of %d by %d pixels", width, height)
		return
	}
	s.Width, s.Height = width, height
}

// Picture asks the server for all of the screen and returns it. It follows when
// the screen changes its size.
func (s *Screen) Picture(ctx context.Context) (*image.RGBA, error) {
	var p *picture
	err := within(ctx, s.conn, s.subject, func(context.Context) error {
		w := &s.wire
		w.send(append([]byte{clientSetPixelFormat, 0, 0, 0}, ourFormat[:]...)...)
		w.send(clientSetEncodings, 0, 0, 2)
		w.sendUint32(encodingRaw)
		desktop := int32(encodingDesktop)
		w.sendUint32(uint32(desktop))
		p = &picture{}
		s.blank(p)
		for n := 0; w.err == nil && p.missing > 0; n++ {
			if n == maxMessages {
				w.fail("%d messages without a complete picture", n)
			}
			s.message(p)
		}
		return w.err
	})
	if err != nil {
		return nil, err
	}
	return p.RGBA, nil
}

// A picture is an image that comes in parts.
type picture struct {
	*image.RGBA
	seen    []uint64 // a bit for each pixel
	missing int      // pixels
	sizes   int      // that it has had
}

// blank asks for a new picture of the screen's present size.
func (s *Screen) blank(p *picture) {
	if p.sizes++; p.sizes > maxSizes {
		s.wire.fail("a screen that has had %d sizes before a picture", maxSizes)
		return
	}
	n := s.Width * s.Height
	p.RGBA = nil // which may have taken much memory
	p.RGBA, p.seen, p.missing = image.NewRGBA(image.Rect(0, 0, s.Width, s.Height)), make([]uint64, (n+63)/64), n
	request := []byte{clientUpdateRequest, 0, 0, 0, 0, 0}
	request = binary.BigEndian.AppendUint16(request, uint16(s.Width))
	s.wire.send(binary.BigEndian.AppendUint16(request, uint16(s.Height))...)
}

// message reads a message of the server.
func (s *Screen) message(p *picture) {
	w := &s.wire
	switch kind := w.uint8(); {
	case w.err != nil:
	case kind == serverUpdate:
		s.update(p)
	case kind == serverColourMap:
		w.skip(6 * int(binary.BigEndian.Uint16(w.bytes(5)[3:])))
	case kind == serverBell:
	case kind == serverCutText:
		w.bytes(3)
		n := w.uint32()
		if n > maxCutText {
			w.fail("a clipboard of %d octets; at most %d are taken", n, maxCutText)
		}
		w.skip(int(n))
	default:
		w.fail("a message of type %d, which was not asked for", kind)
	}
}

func (w *wire) skip(n int) {
	if w.err == nil {
		_, w.err = io.CopyN(io.Discard, struct{ io.Reader }{w.Conn}, int64(n))
	}
}

// update reads a FramebufferUpdate, whose rectangles each have an encoding.
func (s *Screen) update(p *picture) {
	w := &s.wire
	count := int(binary.BigEndian.Uint16(w.bytes(updateHeaderSize)[1:]))
	resized := false
	for range count {
		b := w.bytes(rectangleSize)
		if w.err != nil {
			return
		}
		side := func(i int) int { return int(binary.BigEndian.Uint16(b[i:])) }
		encoding := int32(binary.BigEndian.Uint32(b[8:]))
		switch encoding {
		case encodingRaw:
			s.raw(p, image.Rect(side(0), side(2), side(0)+side(4), side(2)+side(6)))
		case encodingDesktop:
			s.resize(side(4), side(6))
			resized = true
		default:
			w.fail("a rectangle in encoding %d, which was not asked for", encoding)
		}
	}
	if resized && w.err == nil {
		s.blank(p)
		return
	}
	if w.err == nil && p.missing > 0 {
		request := []byte{clientUpdateRequest, 1, 0, 0, 0, 0}
		request = binary.BigEndian.AppendUint16(request, uint16(s.Width))
		w.send(binary.BigEndian.AppendUint16(request, uint16(s.Height))...)
	}
}

// raw reads a rectangle of pixels, row by row. What is outside of the picture,
// whose size may have changed meanwhile, is read and dropped.
func (s *Screen) raw(p *picture, r image.Rectangle) {
	if r.Empty() {
		return // there may be many, of many rows
	}
	for y := r.Min.Y; y < r.Max.Y && s.wire.err == nil; y++ {
		row := s.wire.bytes(r.Dx() * bytesPerPixel)
		if s.wire.err != nil || y >= p.Rect.Max.Y {
			continue
		}
		for x := r.Min.X; x < min(r.Max.X, p.Rect.Max.X); x++ {
			in, out := row[(x-r.Min.X)*bytesPerPixel:], p.Pix[p.PixOffset(x, y):]
			out[0], out[1], out[2], out[3] = in[2], in[1], in[0], 255
			if at := y*p.Rect.Dx() + x; p.seen[at/64]>>(at%64)&1 == 0 {
				p.seen[at/64] |= 1 << (at % 64)
				p.missing--
			}
		}
	}
}
