// A console: the connection to one machine, and what its buttons do.

import RFB from './novnc/core/rfb.js';
import { Clipboard } from './clipboard.js';
import { Ended } from './ended.js';
import { Keys } from './keys.js';
import { afterLoss, sentence, whyRefused } from './why.js';

const patience = 20_000; // ms until a connection stands

const $ = id => document.getElementById(id);
const machine = document.body.dataset.machine;
const screen = $('screen');

let token = '';
let rfb = null; // the session, null between two
let asking = null; // the last question why there is none
const session = () => rfb;

const keys = new Keys(session);
const clipboard = new Clipboard(session, keys);
const ended = new Ended({
    connect,
    useToken(value) {
        token = value;
        connect();
    },
});

// takeToken takes the token out of the address, so that neither the history nor
// somebody who looks on keeps it. It tells whether there was one.
function takeToken() {
    const found = new URLSearchParams(location.hash.slice(1)).get('token');
    if (location.hash) history.replaceState(null, '', location.pathname);
    if (found) token = found;
    return Boolean(found);
}

function address(scheme) {
    const url = new URL(`${document.body.dataset.root}websocket/${encodeURIComponent(machine)}`, location.href);
    url.protocol = scheme;
    url.username = url.password = ''; // which an address of a page may have, and none of a websocket
    return url;
}

// protocols are the subprotocols of the websocket. A script can put a token nowhere
// else in the request, except into the address, which logs on the way may keep.
function protocols() {
    if (!token) return [];
    const text = btoa(String.fromCharCode(...new TextEncoder().encode(token)));
    return ['binary', `virtls.token.${text.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')}`];
}

function say(state, text) {
    $('state').dataset.state = state;
    $('state').textContent = text;
}

// connect begins a session, and ends the one there was.
function connect() {
    hangUp();
    ended.hide();
    say('connecting', 'Connecting');
    const socket = new WebSocket(address('wss:'), protocols());
    const end = { opened: false, connected: false, code: 0, text: '', failed: null };
    socket.addEventListener('open', () => { end.opened = true; });
    socket.addEventListener('close', e => { end.code = e.code; end.text = e.reason; });

    const mine = rfb = new RFB(screen, socket);
    live(false);
    const timer = setTimeout(() => {
        end.failed = { reason: `There was no answer for ${patience / 1000} seconds.`, wait: true };
        mine.disconnect();
    }, patience);
    mine.addEventListener('connect', () => {
        clearTimeout(timer);
        end.connected = true;
        connected();
    });
    mine.addEventListener('credentialsrequired', e => {
        clearTimeout(timer); // people take their time
        say('connecting', 'A login is needed');
        ended.askLogin(e.detail.types, answers => {
            ended.hide();
            say('connecting', 'Connecting');
            mine.sendCredentials(answers);
        });
    });
    mine.addEventListener('securityfailure', e => {
        end.failed = { reason: sentence(e.detail.reason ?? '') || 'The login was refused.' };
    });
    mine.addEventListener('disconnect', () => {
        clearTimeout(timer);
        if (mine === rfb) over(end);
    });
    mine.addEventListener('clipboard', e => clipboard.received(e.detail.text));
    mine.background = 'transparent';
    setFit(pressed($('fit')));
    prepareCanvas(screen.querySelector('canvas'));
}

function prepareCanvas(canvas) {
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-label', `Screen of ${machine}. Keys go to the machine. Control, Alt and Shift together lead back to the buttons.`);
    // A key that is down while the focus leaves must not stay down in the machine.
    // noVNC lets go of all keys when the window loses the focus.
    canvas.addEventListener('blur', () => window.dispatchEvent(new Event('blur')));
}

function connected() {
    live(true);
    say('connected', 'Connected');
    const at = document.activeElement;
    if (!at || at === document.body || $('ended').contains(at)) rfb.focus({ preventScroll: true });
    ended.succeeded();
}

// hangUp ends the session, if there is one, without a word.
function hangUp() {
    const old = rfb;
    rfb = null;
    old?.disconnect();
    live(false);
}

// over says why a session has ended, and what can be done.
async function over(end) {
    rfb = null;
    live(false);
    const title = end.connected ? 'Connection lost' : 'No connection';
    let why = end.failed ?? (end.opened ? afterLoss(end.code, end.text) : null);
    if (!why) {
        say('connecting', title);
        ended.show({ title, reason: 'Asking the gateway why.' });
        const asked = {};
        asking = asked;
        why = await whyRefused(address('https:'), token);
        if (rfb || asking !== asked) return; // there was another attempt meanwhile
    }
    say('ended', `${title}. ${why.reason}`);
    ended.show({ title, ...why });
}

// live tells the buttons whether a machine is at the other end.
function live(on) {
    document.body.classList.toggle('live', on);
    for (const button of document.querySelectorAll('#ctrl-alt-del, #keyboard, #clipboard-send, #clipboard-type, #keys-panel button')) {
        button.disabled = !on;
    }
    $('disconnect').textContent = on ? 'Disconnect' : rfb ? 'Stop' : 'Connect';
    keys.letGo();
}

const pressed = button => button.getAttribute('aria-pressed') === 'true';
const press = (button, on) => button.setAttribute('aria-pressed', String(on));

// setFit shows the whole screen, or each of its pixels as one; on a phone that is a
// part, which the button Move lets a finger push about.
function setFit(on) {
    const clip = !on && matchMedia('(pointer: coarse)').matches;
    press($('fit'), on);
    $('move').hidden = !clip;
    setMove(false);
    if (!rfb) return;
    rfb.scaleViewport = on;
    rfb.clipViewport = clip;
}

function setMove(on) {
    press($('move'), on);
    if (rfb) rfb.dragViewport = on;
}

// setFull fills the display. Where the browser can, the machine then gets the keys
// that browser and desktop keep for themselves.
async function setFull(on) {
    try {
        if (on) {
            await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
            await navigator.keyboard?.lock?.();
            rfb?.focus({ preventScroll: true });
        } else {
            await document.exitFullscreen();
        }
    } catch {
        // Not allowed here; the button shows how it is.
    }
}

function openPanel(button, panel) {
    button.addEventListener('click', () => {
        panel.hidden = !panel.hidden;
        button.setAttribute('aria-expanded', String(!panel.hidden));
    });
    panel.addEventListener('keydown', e => {
        if (e.key !== 'Escape') return;
        panel.hidden = true;
        button.setAttribute('aria-expanded', 'false');
        button.focus();
    });
}

// A way out of the screen for the keyboard.
screen.addEventListener('keydown', e => {
    if (!/^(Control|Alt|Shift)/.test(e.code) || !e.ctrlKey || !e.altKey || !e.shiftKey) return;
    e.preventDefault();
    e.stopImmediatePropagation();
    $('fit').focus();
}, true);

$('fit').addEventListener('click', () => setFit(!pressed($('fit'))));
$('move').addEventListener('click', () => setMove(!pressed($('move'))));
$('full').addEventListener('click', () => setFull(!document.fullscreenElement));
$('full').hidden = !document.fullscreenEnabled;
document.addEventListener('fullscreenchange', () => press($('full'), Boolean(document.fullscreenElement)));
openPanel($('keys'), $('keys-panel'));
openPanel($('clipboard'), $('clipboard-panel'));
$('ctrl-alt-del').addEventListener('click', () => rfb?.sendCtrlAltDel());
$('disconnect').addEventListener('click', () => {
    if (!rfb) return connect();
    hangUp();
    say('ended', 'Disconnected');
    ended.show({ title: 'Disconnected', reason: 'You have ended the connection.' });
});
window.addEventListener('hashchange', () => { if (takeToken()) connect(); });
window.addEventListener('pagehide', hangUp);
window.addEventListener('pageshow', e => { if (e.persisted) connect(); });
// A phone's keyboard may cover the page and not make it smaller.
window.visualViewport?.addEventListener('resize', () => {
    document.body.style.height = `${window.visualViewport.height}px`;
});

takeToken();
connect();
