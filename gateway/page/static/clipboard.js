// The clipboard, in both ways: by hand, or shared if the person wants that. A machine
// that is not trusted could otherwise read what one copies, and put a command where one
// pastes.

const $ = id => document.getElementById(id);

export class Clipboard {
    // session() returns the RFB object, null while there is none; keys types.
    constructor(session, keys) {
        this.session = session;
        this.keys = keys;
        this.last = null; // what both sides know
        $('clipboard-send').addEventListener('click', () => {
            this.send($('clipboard-text').value);
            this.note('Sent to the machine.');
        });
        $('clipboard-type').addEventListener('click', async () => {
            const all = await this.keys.type($('clipboard-text').value);
            this.note(all ? 'Typed.' : 'Not all of it was typed.');
        });
        $('clipboard-copy').addEventListener('click', async () => {
            const done = await this.write($('clipboard-text').value);
            this.note(done ? 'Copied.' : 'This browser does not let a page write to the clipboard. Copy the text yourself.');
        });
        $('clipboard-share').addEventListener('change', () => this.offer());
        window.addEventListener('focus', () => this.offer());
        $('screen').addEventListener('focusin', () => this.offer());
    }

    // received takes what the machine has copied.
    async received(text) {
        this.last = text;
        $('clipboard-text').value = text;
        this.note('The machine has copied this.');
        if ($('clipboard-share').checked) await this.write(text);
    }

    // offer sends the person's clipboard to the machine if it is shared and new.
    async offer() {
        if (!$('clipboard-share').checked || !this.session()) return;
        let text;
        try {
            text = await navigator.clipboard.readText();
        } catch {
            this.note('This browser does not let a page read the clipboard. Paste the text here and send it.');
            return;
        }
        if (!text || text === this.last) return;
        $('clipboard-text').value = text;
        this.send(text);
        this.note('Sent to the machine.');
    }

    send(text) {
        this.last = text;
        this.session()?.clipboardPasteFrom(text);
    }

    async write(text) {
        try {
            await navigator.clipboard.writeText(text);
            return true;
        } catch {
            return false;
        }
    }

    note(text) {
        $('clipboard-note').textContent = text;
    }
}
