// Why there is no connection, for people.
//
// The functions return {reason, wait, token}: a sentence, whether to wait and try
// again, and whether another token may help.

const closings = {
    1000: 'The machine closed it.',
    1001: 'The gateway is shutting down.',
    1011: 'The gateway could not go on.',
    1012: 'The gateway is restarting.',
    1013: 'The gateway is busy.',
    1014: 'The gateway cannot reach the machine.',
};

// afterLoss reads the status and text that a websocket was closed with (RFC 6455, section 7.4).
export function afterLoss(code, text) {
    const reason = sentence(text) || closings[code] || 'The machine, the gateway or the network broke it off.';
    // 1008: against the gateway's policy.
    return code === 1008 ? { reason, token: true } : { reason, wait: true };
}

// whyRefused asks for what no browser tells: why a websocket has not opened. The answer
// may be long in coming: a browser asks for a login meanwhile if the gateway wants one.
export async function whyRefused(url, token) {
    let answer, text = '';
    try {
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        answer = await fetch(url, { headers, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(300_000) });
        if (answer.headers.get('Content-Type')?.startsWith('text/plain')) text = sentence(await answer.text());
    } catch {
        return { reason: 'The gateway cannot be reached.', wait: true };
    }
    switch (answer.status) {
    case 401:
    case 403:
        return { reason: text || 'The gateway does not let you in.', token: true };
    case 404:
        return { reason: text || 'The gateway knows no such machine.' };
    case 426: // would open a websocket: the person has logged in meanwhile, say
        return { reason: 'The gateway lets you in now.', wait: true };
    case 429:
    case 503:
        return { reason: text || 'The gateway is busy.', wait: true };
    }
    return { reason: answer.status >= 500 && text || 'The gateway did not open the connection.', wait: true };
}

// sentence makes one of a server's text. QEMU ends its own with a NUL.
export function sentence(text) {
    text = text.replace(/[\0-\x1f]+/g, ' ').trim().slice(0, 300);
    if (!text) return '';
    text = text[0].toUpperCase() + text.slice(1);
    return /[.!?]$/.test(text) ? text : `${text}.`;
}
