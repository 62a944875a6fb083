package gssapi

import (
	"fmt"
	"strings"

	"virtls/sasl"
)

// Security layers, as bits (RFC 4752, 3.3).
const (
	layerNone      = 1
	layerIntegrity = 2
	layerSealed    = 4
)

// minBuffer is the least buffer of a peer, in octets, that is taken for one.
const minBuffer = 256

// offer is what a server says of the layers that it has: none if what is below
// suffices, else the one that encrypts.
func offer(l sasl.Layer) []byte {
	if l.Suffices() {
		return []byte{layerNone, 0, 0, 0}
	}
	return layerChoice(layerSealed)
}

// layerChoice is a layer and the buffer of this end.
func layerChoice(layer byte) []byte {
	if layer == layerNone {
		return []byte{layer, 0, 0, 0}
	}
	return []byte{layer, byte(sasl.MaxSealed >> 16), byte(sasl.MaxSealed >> 8 & 0xff), byte(sasl.MaxSealed & 0xff)}
}

// choose is a client's answer to a server's offer. The layer that encrypts is
// taken if it is needed, or if nothing else is offered.
func choose(offer []byte, l sasl.Layer) (byte, error) {
	switch {
	case len(offer) != 4:
		return 0, fmt.Errorf("an offer of layers with %d octets; 4 were due", len(offer))
	case offer[0]&layerNone != 0 && l.Suffices():
		return layerNone, nil
	case offer[0]&layerSealed != 0:
		return layerSealed, nil
	case l.Suffices():
		return 0, fmt.Errorf("the server offers %s; none or encryption was due", layers(offer[0]))
	}
	return 0, fmt.Errorf("the server offers %s; without TLS with certificates below, encryption is needed", layers(offer[0]))
}

// buffer is the size of the other end's buffer. What does not fit into a frame
// of ours is not used.
func buffer(choice []byte) int { return int(choice[1])<<16 | int(choice[2])<<8 | int(choice[3]) }

// seal makes a wrapper the context's Seal, if there is to be one.
func seal(w *wrapper, layer byte, choice []byte) (sasl.Seal, error) {
	if layer != layerSealed {
		return nil, nil
	}
	if w.max = buffer(choice); w.max < minBuffer {
		return nil, fmt.Errorf("the other end takes messages of %d octets; %d are the least", w.max, minBuffer)
	}
	return w, nil
}

// layers names those of a set.
func layers(set byte) string {
	var list []string
	for i, name := range []string{"no layer", "integrity without encryption", "encryption"} {
		if set&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	if list == nil {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
