// The list's search box, there when the list is longer than a glance.

const few = 8;
const items = [...document.querySelectorAll('#machines > li')];
const filter = document.getElementById('filter');

function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
        const text = item.textContent.toLowerCase();
        item.hidden = !words.every(word => text.includes(word));
        shown += item.hidden ? 0 : 1;
    }
    document.getElementById('found').textContent =
        words.length ? `${shown} of ${items.length} machines` : `${items.length} machines`;
}

if (items.length > few) {
    document.querySelector('search').hidden = false;
    filter.addEventListener('input', show);
    show(); // a browser may have kept what was typed
}
