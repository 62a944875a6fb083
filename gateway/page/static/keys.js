// Keys that do not come from a keyboard of metal: those of the panel, those of a
// phone, and text that is typed for its owner.

import KeyTable from './novnc/core/input/keysym.js';
import keysyms from './novnc/core/input/keysymdef.js';

const $ = id => document.getElementById(id);

// Label, keysym, code (UI Events, KeyboardEvent.code) and full name of the keys of the panel.
// Shift is not among those that are held: QEMU takes a small letter with Shift for a sign
// that Caps Lock is on, and capitals have keysyms of their own.
const modifiers = [
    ['Ctrl', KeyTable.XK_Control_L, 'ControlLeft'],
    ['Alt', KeyTable.XK_Alt_L, 'AltLeft'],
    ['Super', KeyTable.XK_Super_L, 'MetaLeft'],
];
const others = [
    [
        ['Esc', KeyTable.XK_Escape, 'Escape'],
        ['Tab', KeyTable.XK_Tab, 'Tab'],
        ['Enter', KeyTable.XK_Return, 'Enter'],
        ['Ins', KeyTable.XK_Insert, 'Insert', 'Insert'],
        ['Del', KeyTable.XK_Delete, 'Delete', 'Delete'],
        ['PrtSc', KeyTable.XK_Print, 'PrintScreen', 'Print screen'],
    ],
    [
        ['←', KeyTable.XK_Left, 'ArrowLeft', 'Left'],
        ['↑', KeyTable.XK_Up, 'ArrowUp', 'Up'],
        ['↓', KeyTable.XK_Down, 'ArrowDown', 'Down'],
        ['→', KeyTable.XK_Right, 'ArrowRight', 'Right'],
        ['Home', KeyTable.XK_Home, 'Home'],
        ['End', KeyTable.XK_End, 'End'],
        ['PgUp', KeyTable.XK_Page_Up, 'PageUp', 'Page up'],
        ['PgDn', KeyTable.XK_Page_Down, 'PageDown', 'Page down'],
    ],
    Array.from({ length: 12 }, (_, i) => [`F${i + 1}`, KeyTable.XK_F1 + i, `F${i + 1}`]),
];

// Keys of a phone's keyboard that are no text.
const named = {
    Enter: KeyTable.XK_Return, Tab: KeyTable.XK_Tab, Escape: KeyTable.XK_Escape, Backspace: KeyTable.XK_BackSpace, Delete: KeyTable.XK_Delete,
    ArrowLeft: KeyTable.XK_Left, ArrowUp: KeyTable.XK_Up, ArrowDown: KeyTable.XK_Down, ArrowRight: KeyTable.XK_Right,
    Home: KeyTable.XK_Home, End: KeyTable.XK_End, PageUp: KeyTable.XK_Page_Up, PageDown: KeyTable.XK_Page_Down,
};

// Characters that are above others on a US keyboard, which is what QEMU takes keysyms
// for unless told otherwise. It wants to be told of Shift as well.
const shifted = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

// What the phone's keyboard finds before the caret, so that it has something to delete.
const filler = '_'.repeat(64);

// Ms between two characters. The keyboard that QEMU shows its guest has room for few.
const pace = 20;

export class Keys {
    // session() returns the RFB object, null while there is none.
    constructor(session) {
        this.session = session;
        this.text = $('typing');
        const [held, ...groups] = $('keys-panel').children;
        held.append(...modifiers.map(key => this.modifier(...key)));
        groups.forEach((group, i) => group.append(...others[i].map(([label, keysym, code, name]) =>
            button(label, name, () => this.session()?.sendKey(keysym, code)))));
        this.onScreen();
    }

    // modifier makes a button that holds a key down.
    modifier(label, keysym, code) {
        const b = button(label, undefined, () => {
            const down = b.getAttribute('aria-pressed') !== 'true';
            b.setAttribute('aria-pressed', String(down));
            this.session()?.sendKey(keysym, code, down);
        });
        b.setAttribute('aria-pressed', 'false');
        return b;
    }

    // letGo forgets what was held down; a machine forgets it with the connection.
    letGo() {
        for (const b of $('held').children) b.setAttribute('aria-pressed', 'false');
        this.typing = null;
    }

    // type sends a text as keys, and resolves to whether all of it was sent: to one
    // session, and until somebody types something else.
    async type(text) {
        const mine = this.typing = {};
        for (const character of text.replace(/\r\n?/g, '\n')) {
            if (this.typing !== mine || !this.session()) return false;
            this.character(character);
            await new Promise(resolve => setTimeout(resolve, pace));
        }
        return true;
    }

    character(c) {
        const session = this.session();
        if (c === '\n') return session.sendKey(KeyTable.XK_Return, 'Enter');
        if (c === '\t') return session.sendKey(KeyTable.XK_Tab, 'Tab');
        const shift = shifted.test(c);
        if (shift) session.sendKey(KeyTable.XK_Shift_L, 'ShiftLeft', true);
        session.sendKey(keysyms.lookup(c.codePointAt(0)));
        if (shift) session.sendKey(KeyTable.XK_Shift_L, 'ShiftLeft', false);
    }

    // onScreen has the phone's keyboard write into a text that is not seen, and sends
    // what has changed there: such keyboards replace words and tell of no keys.
    onScreen() {
        const toggle = $('keyboard');
        const { text } = this;
        const restart = () => { text.value = this.before = filler; };
        // The button must not take the focus before its click can tell who has it.
        toggle.addEventListener('pointerdown', e => e.preventDefault());
        toggle.addEventListener('click', () => {
            if (document.activeElement === text) return text.blur();
            restart();
            text.focus({ preventScroll: true });
        });
        text.addEventListener('focus', () => toggle.setAttribute('aria-pressed', 'true'));
        text.addEventListener('blur', () => toggle.setAttribute('aria-pressed', 'false'));
        text.addEventListener('keydown', e => {
            const keysym = named[e.key] ?? (e.ctrlKey || e.altKey ? keysyms.lookup(e.key.codePointAt(0)) : undefined);
            if (e.isComposing || keysym === undefined || e.key.length > 1 && !(e.key in named)) return;
            e.preventDefault();
            this.session()?.sendKey(keysym);
        });
        text.addEventListener('input', e => {
            const { gone, come } = difference(this.before, text.value);
            this.before = text.value;
            if (this.session()) {
                for (let i = 0; i < gone; i++) this.session().sendKey(KeyTable.XK_BackSpace, 'Backspace');
                for (const c of come) this.character(c);
            }
            if (!e.isComposing && (text.value.length < filler.length / 2 || text.value.length > filler.length * 4)) restart();
        });
    }
}

function button(label, name, click) {
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = label;
    if (name) b.setAttribute('aria-label', name);
    // A key of the panel must not take the phone's keyboard away.
    b.addEventListener('pointerdown', e => e.preventDefault());
    b.addEventListener('click', click);
    return b;
}

// difference tells how many characters have gone from the end of a text, and which have come.
function difference(before, after) {
    const a = [...before], b = [...after];
    let same = 0;
    while (same < a.length && same < b.length && a[same] === b[same]) same++;
    return { gone: a.length - same, come: b.slice(same) };
}
