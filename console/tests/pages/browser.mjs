// The browser, and what every page has to keep: no violation of the policy, no error, no barrier.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

/** How long is waited for what will come; a busy machine takes its time. */
const PATIENCE_MS = 120_000;
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export function startBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
}

/** A page that writes down what goes wrong on it. */
export async function openPage(browser, options = {}) {
  const downloads = mkdtempSync(join(tmpdir(), 'vitalake-downloads-'));
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options });
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.setDefaultNavigationTimeout(PATIENCE_MS);
  const wrong = [];
  const elsewhere = [];
  // A refusal that a test provokes is no error of the page.
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) wrong.push(message.text());
  });
  page.on('pageerror', (error) => wrong.push(`${error.message} ${error.stack}`));
  page.on('dialog', (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (/^https?:$/.test(url.protocol) && url.hostname !== '127.0.0.1') elsewhere.push(request.url());
  });
  const end = async () => {
    await context.close();
    rmSync(downloads, { recursive: true, force: true });
  };
  /** Fails where something went wrong. */
  const check = async (where) => {
    const violations = await page.evaluate(() => window.violations);
    assert.deepEqual(violations, [], `${where}: the content security policy was violated`);
    assert.deepEqual(wrong, [], `${where}: errors of the page`);
    assert.deepEqual(elsewhere, [], `${where}: requests to somebody else`);
  };
  return { page, context, check, wrong, end };
}

/** Waits until a page shows what it has. */
export async function settled(page) {
  await page.waitForSelector('main h1');
  await page.waitForFunction(() => !document.querySelector('main [aria-busy="true"]'), undefined, { timeout: PATIENCE_MS });
}

/** What is a barrier on this page, by axe. */
export async function barriers(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.map((each) => `${each.id} (${each.impact}): ${each.help}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 200)}`).join(' | ')}`);
}

/** Whether the page is wider than the window. */
export function tooWide(page) {
  return page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room + 1) return '';
    const widest = [...document.querySelectorAll('main *')].filter((each) => each.getBoundingClientRect().right > room + 1 && !each.closest('.scroll, .box, .tabs, .table, figure'));
    return `${document.documentElement.scrollWidth} of ${room}: ${widest.slice(0, 3).map((each) => each.outerHTML.slice(0, 120)).join(' | ')}`;
  });
}
