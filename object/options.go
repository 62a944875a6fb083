package object

import (
	"strings"

	"virtls/internal/qjson"
	"virtls/internal/qopts"
)

// parseOptions reads key=value,... as the emulator's command line does
// (util/qemu-option.c): nothing but "=" and "," is special in keys, ",," is a
// comma in a value, and a key alone is switched on, or off if it begins with
// "no". shorts lists what to write instead of those.
func parseOptions(text string) (obj qjson.Object, shorts []short) {
	id := false
	add := func(key, value string) {
		if key == "id" {
			// The first identifier counts, while of everything else the last does.
			if id {
				return
			}
			id = true
		}
		obj = append(obj, qjson.Member{Key: key, Value: value})
	}
	for first := true; text != ""; first = false {
		end := strings.IndexAny(text, "=,")
		var value string
		switch {
		case end >= 0 && text[end] == '=':
			key := text[:end]
			value, text = qopts.Cut(text[end+1:])
			add(key, value)
		case first:
			value, text = qopts.Cut(text)
			add(typeKey, value)
		default:
			var word string
			word, text, _ = strings.Cut(text, ",")
			key, on := word, "on"
			if name, ok := strings.CutPrefix(word, "no"); ok {
				key, on = name, "off"
			}
			if !isHelp(word) {
				shorts = append(shorts, short{word, key, on})
			}
			add(key, on)
		}
	}
	return obj, shorts
}

// A short is a key alone: the word, and the key and value that it stands for.
type short struct{ word, key, value string }
