// visit.mjs CHROMIUM STEPS: walks through a site in a headless Chromium, and says what it saw as JSON.
//
// STEPS is a JSON array: {"open": URL}, {"click": SELECTOR} (a link, leads to another page), {"search": SELECTOR, "words": TEXT}
// (types into a field, presses Enter, and gets another page). Every step ends with the page loaded and all its requests
// answered. The browser is spoken to over its debugging pipe, so nothing but Node.js is needed. Other hosts than that of the
// first page are answered here, with nothing: the machine may have no network, and what they say is not the site's.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE_MS = 60_000;
/** No request for so long means that a page is complete. */
const QUIET_MS = 300;

const FLAGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-default-browser-check',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
    '--disable-dev-shm-usage', '--password-store=basic', '--window-size=1280,1600', '--remote-debugging-pipe',
];

/** A browser, as its protocol shows it: commands with answers, and events. */
class Browser {
    #next = 1;
    #waiting = new Map();
    #rest = Buffer.alloc(0);
    listeners = [];

    constructor(program, profile) {
        const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
        this.process = spawn(program, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], { stdio });
        this.stderr = '';
        this.process.stderr.on('data', (text) => { this.stderr = (this.stderr + text).slice(-4000); });
        this.process.on('exit', (code) => {
            for (const { reject } of this.#waiting.values()) reject(new Error(`the browser ended (${code}): ${this.stderr}`));
        });
        this.process.stdio[4].on('data', (bytes) => this.#receive(bytes));
    }

    // Messages end in NUL.
    #receive(bytes) {
        this.#rest = Buffer.concat([this.#rest, bytes]);
        for (let end; (end = this.#rest.indexOf(0)) >= 0; this.#rest = this.#rest.subarray(end + 1)) {
            const message = JSON.parse(this.#rest.subarray(0, end).toString());
            const waiting = this.#waiting.get(message.id);
            if (waiting === undefined) {
                for (const listener of this.listeners) listener(message);
                continue;
            }
            this.#waiting.delete(message.id);
            if (message.error) waiting.reject(new Error(`${waiting.method}: ${message.error.message}`));
            else waiting.resolve(message.result);
        }
    }

    send(method, params = {}, sessionId = undefined) {
        const id = this.#next++;
        return new Promise((resolve, reject) => {
            this.#waiting.set(id, { resolve, reject, method });
            this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
        });
    }
}

/** One tab, and everything that happened in it. */
class Tab {
    problems = [];
    requests = [];
    foreign = new Set();
    #pending = new Map();
    #last = 0;
    #loads = 0;

    static async open(browser, origin) {
        const tab = new Tab();
        const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
        const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
        tab.send = (method, params) => browser.send(method, params, sessionId);
        tab.origin = origin;
        browser.listeners.push((message) => { if (message.sessionId === sessionId) tab.#event(message); });
        for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await tab.send(`${domain}.enable`);
        // What is typed goes to the tab in front.
        await tab.send('Page.bringToFront');
        await tab.send('Fetch.enable', { patterns: [{ urlPattern: 'http*' }] });
        return tab;
    }

    #event({ method, params }) {
        this.#last = Date.now();
        const handlers = {
            'Page.loadEventFired': () => { this.#loads++; },
            'Fetch.requestPaused': () => this.#paused(params),
            'Network.requestWillBeSent': () => {
                const { url } = params.request;
                if (url.startsWith('http')) this.#pending.set(params.requestId, url);
            },
            'Network.loadingFinished': () => { this.#pending.delete(params.requestId); },
            'Network.loadingFailed': () => {
                this.#pending.delete(params.requestId);
                if (!params.canceled) this.problems.push(`request failed: ${params.errorText}`);
            },
            'Network.responseReceived': () => {
                const { url, status } = params.response;
                if (!url.startsWith(this.origin)) return;
                this.requests.push({ type: params.type, status, url });
                if (status >= 400) this.problems.push(`${status} ${url}`);
            },
            'Runtime.exceptionThrown': () => this.problems.push(`exception: ${JSON.stringify(params.exceptionDetails)}`),
            'Runtime.consoleAPICalled': () => {
                const said = params.args.map((arg) => arg.value ?? arg.description).join(' ');
                if (['error', 'warning', 'assert'].includes(params.type)) this.problems.push(`console ${params.type}: ${said}`);
            },
            'Log.entryAdded': () => {
                const { level, text, url } = params.entry;
                if (level === 'error') this.problems.push(`log: ${text} ${url ?? ''}`);
            },
        };
        handlers[method]?.();
    }

    #paused({ requestId, request, resourceType }) {
        if (request.url.startsWith(this.origin)) {
            return void this.send('Fetch.continueRequest', { requestId }).catch(() => {});
        }
        this.foreign.add(new URL(request.url).host);
        const kind = resourceType === 'Image' ? 'image/svg+xml' : 'text/plain';
        const body = resourceType === 'Image' ? '<svg xmlns="http://www.w3.org/2000/svg"/>' : '';
        this.send('Fetch.fulfillRequest', {
            requestId, responseCode: 200, responseHeaders: [{ name: 'Content-Type', value: kind }],
            body: Buffer.from(body).toString('base64'),
        }).catch(() => {});
    }

    async evaluate(expression) {
        const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true });
        if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
        return result.value;
    }

    /** Does something that leads to another page, and waits until that is complete. */
    async go(action) {
        const loads = this.#loads, deadline = Date.now() + PATIENCE_MS;
        this.#last = Date.now();
        await action();
        while (this.#loads === loads || this.#pending.size > 0 || Date.now() - this.#last < QUIET_MS) {
            if (Date.now() > deadline) throw new Error(`not loaded in time: ${[...this.#pending.values()]}, ${this.#loads - loads} loads`);
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return this.evaluate(`({
            url: location.href, title: document.title, links: document.links.length,
            images: [...document.images].filter((i) => i.complete && i.naturalWidth > 0 && i.src.startsWith(location.origin)).length,
            brokenImages: [...document.images].filter((i) => i.complete && i.naturalWidth === 0 && i.src.startsWith(location.origin)).length,
            styles: document.styleSheets.length, scripts: document.scripts.length,
            text: document.body.innerText.slice(0, 20000),
        })`);
    }

    step(step) {
        const find = (selector) => `document.querySelector(${JSON.stringify(selector)})`;
        if (step.open) return this.go(() => this.send('Page.navigate', { url: step.open }));
        if (step.click) return this.go(() => this.evaluate(`${find(step.click)}.click()`));
        return this.go(async () => {
            await this.evaluate(`${find(step.search)}.focus(); ${find(step.search)}.select()`);
            await this.send('Input.insertText', { text: step.words });
            const typed = await this.evaluate(`${find(step.search)}.value`);
            if (typed !== step.words) throw new Error(`typed ${JSON.stringify(step.words)}, found ${JSON.stringify(typed)}`);
            const enter = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' };
            await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...enter });
            await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...enter });
        });
    }
}

const [program, text] = process.argv.slice(2);
const steps = JSON.parse(text);
const profile = mkdtempSync(join(tmpdir(), 'zapp-browser-'));
const browser = new Browser(program, profile);
try {
    const tab = await Tab.open(browser, new URL(steps[0].open).origin);
    const pages = [];
    for (const step of steps) pages.push(await tab.step(step));
    console.log(JSON.stringify({ pages, requests: tab.requests, problems: tab.problems, foreign: [...tab.foreign] }));
} finally {
    const ended = new Promise((resolve) => browser.process.once('exit', resolve));
    await browser.send('Browser.close').catch(() => browser.process.kill());
    await ended;
    rmSync(profile, { recursive: true, force: true });
}
