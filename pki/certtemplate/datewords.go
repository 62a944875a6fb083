package certtemplate

import (
	"strings"
	"time"
)

// A tokenKind is a terminal of the language of dates.
type tokenKind int

const (
	endToken       tokenKind = iota
	charToken                // any other character; value is it
	numberToken              // digits
	signedToken              // + or -, then digits
	decimalToken             // digits with a fraction, perhaps signed
	meridianToken            // value: hours to add
	monthToken               // value: 1 to 12
	dayToken                 // value: 0 for Sunday to 6
	ordinalToken             // first, next, last
	unitToken                // value of unit
	dayShiftToken            // value: days from now
	agoToken                 // value: -1 for ago, 1 for hence
	zoneToken                // value: seconds east of Greenwich
	dayZoneToken             // the same, without the hour of summer time
	localZoneToken           // value: 1 in summer time, 0 outside, -1 if the name does not tell
	dstToken
	letterTToken // separates date and time, or is a zone
)

// A token is a word, number or character of a date.
type token struct {
	kind     tokenKind
	value    int64
	unit     unit
	nanos    int64 // behind the decimal point, counted upwards from value
	digits   int   // how many the number was written with
	signed   bool
	negative bool
}

// A unit is a span of time that relative dates count in.
type unit int

const (
	years unit = iota
	months
	days
	hours
	minutes
	seconds
)

const (
	pm   = 12
	hour = 3600
)

var dateWords = map[string]token{
	"AM": {kind: meridianToken}, "A.M.": {kind: meridianToken},
	"PM": {kind: meridianToken, value: pm}, "P.M.": {kind: meridianToken, value: pm},

	"YEAR":      {kind: unitToken, unit: years, value: 1},
	"MONTH":     {kind: unitToken, unit: months, value: 1},
	"FORTNIGHT": {kind: unitToken, unit: days, value: 14},
	"WEEK":      {kind: unitToken, unit: days, value: 7},
	"DAY":       {kind: unitToken, unit: days, value: 1},
	"HOUR":      {kind: unitToken, unit: hours, value: 1},
	"MINUTE":    {kind: unitToken, unit: minutes, value: 1},
	"MIN":       {kind: unitToken, unit: minutes, value: 1},
	"SECOND":    {kind: unitToken, unit: seconds, value: 1},
	"SEC":       {kind: unitToken, unit: seconds, value: 1},

	"TOMORROW":  {kind: dayShiftToken, value: 1},
	"YESTERDAY": {kind: dayShiftToken, value: -1},
	"TODAY":     {kind: dayShiftToken},
	"NOW":       {kind: dayShiftToken},
	"LAST":      {kind: ordinalToken, value: -1},
	"THIS":      {kind: ordinalToken, value: 0},
	"NEXT":      {kind: ordinalToken, value: 1},
	"FIRST":     {kind: ordinalToken, value: 1},
	"THIRD":     {kind: ordinalToken, value: 3},
	"FOURTH":    {kind: ordinalToken, value: 4},
	"FIFTH":     {kind: ordinalToken, value: 5},
	"SIXTH":     {kind: ordinalToken, value: 6},
	"SEVENTH":   {kind: ordinalToken, value: 7},
	"EIGHTH":    {kind: ordinalToken, value: 8},
	"NINTH":     {kind: ordinalToken, value: 9},
	"TENTH":     {kind: ordinalToken, value: 10},
	"ELEVENTH":  {kind: ordinalToken, value: 11},
	"TWELFTH":   {kind: ordinalToken, value: 12},
	"AGO":       {kind: agoToken, value: -1},
	"HENCE":     {kind: agoToken, value: 1},
	"DST":       {kind: dstToken},
	"T":         {kind: letterTToken},
	"J":         {kind: localZoneToken, value: -1}, // GnuTLS 3.8; unknown to 3.7
}

// calendarWords are matched by their first three letters if the word has
// three, with or without a period behind them.
var calendarWords = []struct {
	name string
	kind tokenKind
	n    int64
}{
	{"JANUARY", monthToken, 1}, {"FEBRUARY", monthToken, 2}, {"MARCH", monthToken, 3}, {"APRIL", monthToken, 4},
	{"MAY", monthToken, 5}, {"JUNE", monthToken, 6}, {"JULY", monthToken, 7}, {"AUGUST", monthToken, 8},
	{"SEPTEMBER", monthToken, 9}, {"SEPT", monthToken, 9}, {"OCTOBER", monthToken, 10}, {"NOVEMBER", monthToken, 11},
	{"DECEMBER", monthToken, 12},
	{"SUNDAY", dayToken, 0}, {"MONDAY", dayToken, 1}, {"TUESDAY", dayToken, 2}, {"TUES", dayToken, 2},
	{"WEDNESDAY", dayToken, 3}, {"WEDNES", dayToken, 3}, {"THURSDAY", dayToken, 4}, {"THUR", dayToken, 4},
	{"THURS", dayToken, 4}, {"FRIDAY", dayToken, 5}, {"SATURDAY", dayToken, 6},
}

// zoneMinutes are the zones that have a name everywhere, in minutes east of
// Greenwich, outside summer time.
var zoneMinutes = map[string]int64{
	"GMT": 0, "UT": 0, "UTC": 0, "WET": 0,
	"ART": -180, "BRT": -180, "NST": -210, "AST": -240, "CLT": -240, "EST": -300, "CST": -360, "MST": -420,
	"PST": -480, "AKST": -540, "HST": -600, "HAST": -600, "SST": -720,
	"WAT": 60, "CET": 60, "MET": 60, "MEZ": 60, "EET": 120, "CAT": 120, "SAST": 120, "EAT": 180, "MSK": 180,
	"IST": 330, "SGT": 480, "KST": 540, "JST": 540, "GST": 600, "NZST": 720,
}

// dayZones are names of summer time, and the zones it belongs to.
var dayZones = map[string]string{
	"WEST": "WET", "BST": "GMT", "BRST": "BRT", "NDT": "NST", "ADT": "AST", "CLST": "CLT", "EDT": "EST", "CDT": "CST",
	"MDT": "MST", "PDT": "PST", "AKDT": "AKST", "HADT": "HAST", "CEST": "CET", "MEST": "MET", "MESZ": "MEZ",
	"EEST": "EET", "MSD": "MSK", "NZDT": "NZST",
}

// universalZones are those that no local name hides.
var universalZones = map[string]bool{"GMT": true, "UT": true, "UTC": true}

// localZones returns what the place calls its time now and in the rest of the
// year, and whether that is summer time.
func localZones(now time.Time, loc *time.Location) map[string]int64 {
	zone := func(t time.Time) (string, int64) {
		name, _ := t.In(loc).Zone()
		return name, isDST(t.In(loc))
	}
	name, dst := zone(now)
	zones := map[string]int64{name: dst}
	for quarter := 1; quarter <= 3; quarter++ {
		other, otherDST := zone(now.Add(time.Duration(quarter) * 90 * secondsOfDay * time.Second))
		if otherDST == dst {
			continue
		}
		if other == name {
			zones[name] = -1
		} else {
			zones[other] = otherDST
		}
		break
	}
	return zones
}

func isDST(t time.Time) int64 {
	if t.IsDST() {
		return 1
	}
	return 0
}

// lookupWord returns the token of a word, false if it has no meaning.
func lookupWord(word string, local map[string]int64) (token, bool) {
	word = strings.ToUpper(word)
	// An abbreviation of a month or day comes before all other meanings but
	// those of two letters and periods.
	short := len(word) == 3 || len(word) == 4 && word[3] == '.'
	for _, w := range calendarWords {
		if short && strings.HasPrefix(w.name, word[:3]) || word == w.name {
			return token{kind: w.kind, value: w.n}, true
		}
	}
	if t, ok := lookupZone(word, local); ok {
		return t, true
	}
	if t, ok := dateWords[word]; ok {
		return t, true
	}
	if t, ok := dateWords[strings.TrimSuffix(word, "S")]; ok && t.kind == unitToken {
		return t, true
	}
	if len(word) == 1 {
		return militaryZone(word[0])
	}
	if bare := strings.ReplaceAll(word, ".", ""); bare != word {
		return lookupZone(bare, local)
	}
	return token{}, false
}

func lookupZone(word string, local map[string]int64) (token, bool) {
	if dst, ok := local[word]; ok && !universalZones[word] {
		return token{kind: localZoneToken, value: dst}, true
	}
	if m, ok := zoneMinutes[word]; ok {
		return token{kind: zoneToken, value: m * 60}, true
	}
	if standard, ok := dayZones[word]; ok {
		return token{kind: dayZoneToken, value: zoneMinutes[standard] * 60}, true
	}
	return token{}, false
}

// militaryZone returns the zone of a single letter, but T and J.
func militaryZone(c byte) (token, bool) {
	var h int64
	switch {
	case 'A' <= c && c <= 'I':
		h = int64(c-'A') + 1
	case 'K' <= c && c <= 'M':
		h = int64(c-'K') + 10
	case 'N' <= c && c <= 'Y':
		h = -int64(c-'N') - 1
	case c != 'Z':
		return token{}, false
	}
	return token{kind: zoneToken, value: h * hour}, true
}

// isSpace is C's isspace for ASCII.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// dateTokens splits a date. A word without meaning and a number that is too
// long become a character that no date has.
func dateTokens(text string, local map[string]int64) []token {
	var tokens []token
	unknown := token{kind: charToken, value: '?'}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case isSpace(c):
			i++
		case c == '+' || c == '-':
			negative := c == '-'
			for i++; i < len(text) && isSpace(text[i]); i++ {
			}
			if i == len(text) || !isDigit(text[i]) {
				continue // a sign before anything else does not count
			}
			t, n := numberAt(text[i:], true, negative)
			tokens = append(tokens, t)
			i += n
		case isDigit(c):
			t, n := numberAt(text[i:], false, false)
			tokens = append(tokens, t)
			i += n
		case isLetter(c):
			start := i
			for i < len(text) && (isLetter(text[i]) || text[i] == '.') {
				i++
			}
			t, ok := lookupWord(text[start:i], local)
			if !ok {
				t = unknown
			}
			tokens = append(tokens, t)
		case c == '(':
			i += comment(text[i:])
		default:
			tokens = append(tokens, token{kind: charToken, value: int64(c)})
			i++
		}
	}
	return append(tokens, token{kind: endToken})
}

// comment returns the length of the comment in parentheses that text begins with.
func comment(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// numberAt reads the number that text begins with, and tells its length.
func numberAt(text string, signed, negative bool) (token, int) {
	t := token{kind: numberToken, signed: signed, negative: negative}
	if signed {
		t.kind = signedToken
	}
	i := 0
	overflow := false
	for ; i < len(text) && isDigit(text[i]); i++ {
		d := int64(text[i] - '0')
		if t.value > (1<<63-1-d)/10 {
			overflow = true
			continue
		}
		t.value = t.value*10 + d
	}
	t.digits = i
	if negative {
		t.value = -t.value
	}
	if i+1 < len(text) && (text[i] == '.' || text[i] == ',') && isDigit(text[i+1]) {
		t.kind = decimalToken
		i += t.fraction(text[i+1:]) + 1
	}
	if overflow {
		return token{kind: charToken, value: '?'}, i
	}
	return t, i
}

// fraction reads the digits behind a decimal point, and tells how many there are.
func (t *token) fraction(digits string) int {
	i, more := 0, false
	for scale := int64(100_000_000); i < len(digits) && isDigit(digits[i]); i++ {
		t.nanos += int64(digits[i]-'0') * scale
		more = more || scale == 0 && digits[i] != '0'
		scale /= 10
	}
	if t.negative && more {
		t.nanos++ // downwards, like everything that is cut off
	}
	if t.negative && t.nanos > 0 {
		t.value, t.nanos = t.value-1, 1e9-t.nanos
	}
	return i
}
