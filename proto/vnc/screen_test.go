package vnc

import (
	"context"
	"io"
	"strings"
	"testing"
	"virtls/internal/peertest"
)

// initOf is a ServerInit message; its name is empty.
func initOf(size string) string {
	return size + strings.Repeat("\x00", pixelFormatSize) + "\x00\x00\x00\x00"
}

const (
	rawHeader = "\x00\x00\x00\x01" // an update of one rectangle
	onePixel  = "\x00\x01\x00\x01"
)

func TestScreen(t *testing.T) {
	for _, tt := range []struct {
		name, says, code string
		colour           byte // red of the picture's last pixel
	}{
		{"one pixel", initOf(onePixel) + rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "bgr.", "", 'r'},
		{"in two updates", initOf("\x00\x02\x00\x01") + rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00bgr." +
			rawHeader + "\x00\x01\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00bgR.", "", 'R'},
		{"after a bell and a clipboard", initOf(onePixel) + "\x02" + "\x03\x00\x00\x00\x00\x00\x00\x02hi" +
			rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "bgr.", "", 'r'},
		{"with another size", initOf("\x00\x09\x00\x09") + rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\xff\xff\xff\x21" +
			rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "bgr.", "", 'r'},
		{"outside of the screen", initOf(onePixel) + rawHeader + "\x00\x00\x00\x00\x00\x02\x00\x02\x00\x00\x00\x00" + "bgr." + "xxxxyyyyzzzz", "", 'r'},
		{"too large", initOf("\xff\xff\xff\xff"), "vnc-protocol", 0},
		{"a name of 4 GiB", onePixel + strings.Repeat("\x00", pixelFormatSize) + "\xff\xff\xff\xff", "vnc-protocol", 0},
		{"a clipboard of 4 GiB", initOf(onePixel) + "\x03\x00\x00\x00\xff\xff\xff\xff", "vnc-protocol", 0},
		{"another encoding", initOf(onePixel) + rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x10", "vnc-protocol", 0},
		{"another message", initOf(onePixel) + "\x7f", "vnc-protocol", 0},
		{"bells without end", initOf(onePixel) + strings.Repeat("\x02", maxMessages+1), "vnc-protocol", 0},
		{"sizes without end", initOf(onePixel) + strings.Repeat(rawHeader+"\x00\x00\x00\x00\x00\x02\x00\x01\xff\xff\xff\x21", maxSizes), "vnc-protocol", 0},
		{"rectangles of nothing", initOf(onePixel) + "\x00\x00\xff\xff" + strings.Repeat("\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00", 0xffff) +
			rawHeader + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "bgr.", "", 'r'},
		{"half", initOf(onePixel) + rawHeader, "vnc-late", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := peertest.Pair(t)
			go io.WriteString(far, tt.says)
			ctx, cancel := context.WithTimeout(t.Context(), patience(tt.code))
			defer cancel()
			s, err := NewScreen(ctx, &Conn{Conn: near}, true)
			if err == nil {
				var c interface{ RGBA() (r, g, b, a uint32) }
				p, e := s.Picture(ctx)
				if err = e; err == nil {
					c = p.At(s.Width-1, s.Height-1)
					if r, _, _, _ := c.RGBA(); byte(r>>8) != tt.colour {
						t.Errorf("red %q", byte(r>>8))
					}
				}
			}
			wantCode(t, err, tt.code)
		})
	}
}
