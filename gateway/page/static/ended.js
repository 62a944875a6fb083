// What stands in the place of the screen while there is none: why, and what to do.

const longest = 30; // seconds between two attempts

const $ = id => document.getElementById(id);

// What noVNC asks for, in the words of the page.
const questions = {
    username: { label: 'User name', type: 'text', autocomplete: 'username' },
    password: { label: 'Password', type: 'password', autocomplete: 'current-password' },
    target: { label: 'Machine', type: 'text', autocomplete: 'off' },
    token: { label: 'Token', type: 'password', autocomplete: 'off' },
};

export class Ended {
    // does.connect() tries again; does.useToken(token) does with another token.
    constructor(does) {
        this.does = does;
        this.attempts = 0;
        this.timer = 0;
        $('connect').addEventListener('click', () => this.again());
        $('stop').addEventListener('click', () => {
            this.stop();
            $('connect').focus();
        });
        window.addEventListener('online', () => { if (this.timer) this.again(); });
        document.addEventListener('visibilitychange', () => { if (this.timer && !document.hidden) this.again(); });
    }

    // show says why there is no connection; see why.js.
    show({ title, reason, wait, token }) {
        $('ended-title').textContent = title;
        $('ended-reason').textContent = reason;
        this.stop();
        this.ask(token ? ['token'] : [], ({ token }) => this.does.useToken(token.trim()));
        $('connect').hidden = false;
        this.appear(wait ? $('connect') : $('ask').querySelector('input') ?? $('connect'));
        if (wait) this.wait();
    }

    // askLogin asks for what a machine wants to know and hands it on.
    askLogin(types, then) {
        $('ended-title').textContent = 'The machine asks for a login';
        $('ended-reason').textContent = '';
        this.stop();
        this.ask(types.filter(type => type in questions), then);
        $('connect').hidden = true;
        this.appear($('ask').querySelector('input'));
    }

    // appear shows it, and takes the focus along if it was here or on the screen that has gone.
    appear(first) {
        $('ended').hidden = false;
        const at = document.activeElement;
        if (!at || at === document.body || $('ended').contains(at)) first?.focus();
    }

    hide() {
        this.stop();
        $('ended').hidden = true;
        $('ask').replaceChildren();
    }

    succeeded() {
        this.attempts = 0;
        this.hide();
    }

    again() {
        this.stop();
        this.does.connect();
    }

    // wait begins to count down to the next attempt: 1, 2, 4 ... seconds, less up to a
    // quarter, so that the browsers of many people do not come back together.
    wait() {
        const pause = Math.min(longest, 2 ** this.attempts++) * (1 - Math.random() / 4);
        const due = Date.now() + pause * 1000;
        const tick = () => {
            const left = Math.ceil((due - Date.now()) / 1000);
            if (left <= 0) return this.again();
            $('ended-retry').textContent = `Trying again in ${left} s`;
        };
        this.timer = setInterval(tick, 250);
        tick();
        $('stop').hidden = false;
    }

    stop() {
        clearInterval(this.timer);
        this.timer = 0;
        $('ended-retry').textContent = '';
        $('stop').hidden = true;
    }

    ask(types, then) {
        const form = $('ask');
        form.hidden = !types.length;
        $('connect').classList.toggle('main', !types.length);
        $('answer').hidden = !types.length;
        $('answer').textContent = types.includes('token') ? 'Use this token' : 'Log in';
        form.replaceChildren(...types.flatMap(type => {
            const label = document.createElement('label');
            const input = document.createElement('input');
            label.htmlFor = input.id = `ask-${type}`;
            label.textContent = questions[type].label;
            Object.assign(input, { name: type, type: questions[type].type, autocomplete: questions[type].autocomplete, required: true, spellcheck: false });
            input.autocapitalize = 'off';
            return [label, input];
        }));
        form.onsubmit = e => {
            e.preventDefault();
            then(Object.fromEntries(new FormData(form)));
        };
    }
}
