package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// A webStream is the octets inside of a websocket: a net.Conn on which RFB
// begins, and a stream of a relay. It has no memory of its own while it waits.
// Unlike those of other connections its deadlines are final.
type webStream struct {
	net.Conn // below the websocket: its addresses and deadlines
	ws       *websocket.Conn
	message  io.Reader // the rest of a message, nil between them
}

func newWebStream(below net.Conn, ws *websocket.Conn) *webStream {
	ws.SetReadLimit(-1) // messages are not kept, so that they may have any size
	return &webStream{Conn: below, ws: ws}
}

var errText = errors.New("the browser sent text; RFB is in binary messages")

// next waits for the next message, if the last one was read.
func (w *webStream) next() error {
	if w.message != nil {
		return nil
	}
	kind, message, err := w.ws.Reader(context.Background())
	if err != nil {
		if websocket.CloseStatus(err) >= 0 {
			return io.EOF // whatever the browser's reason
		}
		return err
	}
	if kind != websocket.MessageBinary {
		w.SetDeadline(time.Now().Add(closeLimit))
		w.ws.Close(websocket.StatusUnsupportedData, errText.Error())
		return errText
	}
	w.message = message
	return nil
}

// Read implements net.Conn.
func (w *webStream) Read(p []byte) (int, error) {
	for {
		if err := w.next(); err != nil {
			return 0, err
		}
		n, err := w.message.Read(p)
		if err == io.EOF {
			w.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// WriteTo implements io.WriterTo.
func (w *webStream) WriteTo(to io.Writer) (total int64, err error) {
	for {
		if err := w.next(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.copy(to)
		if total += n; err != nil {
			return total, err
		}
		w.message = nil
	}
}

// copy passes the rest of a message on.
func (w *webStream) copy(to io.Writer) (int64, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(to, w.message, buf[:])
}

// Write sends one message.
func (w *webStream) Write(p []byte) (int, error) {
	if err := w.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the connection without a word.
func (w *webStream) Close() error { return w.ws.CloseNow() }

// closeLimit bounds how long the browser may take to answer the end of a
// websocket. The library's own limit does not hold within a frame.
const closeLimit = 2 * time.Second

// CloseWrite says that nothing more comes. A websocket then ends both ways.
func (w *webStream) CloseWrite() error {
	w.SetDeadline(time.Now().Add(closeLimit))
	return w.ws.Close(websocket.StatusNormalClosure, "")
}

// refuse ends a websocket that has begun with a reason, which a page can show.
func (w *webStream) refuse(reason string) {
	const most = 120 // a control frame has 125 octets, two of them for the status
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "") + "..."
	}
	w.SetDeadline(time.Now().Add(closeLimit))
	w.ws.Close(websocket.StatusInternalError, reason)
}
