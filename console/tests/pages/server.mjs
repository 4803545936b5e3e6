// The platform under test: the real binary with the example project and simulated wearers, and the built pages before it.
//
// The pages come from console/dist under the policy that the binary sends, so that what was just built is what is looked at;
// one test holds the binary's own copy against it. SERVER=URL takes a platform that runs already.
import { spawn } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, request } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';

export const DIST = new URL('../../dist', import.meta.url).pathname;
export const POLICY =
  "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

function freePort() {
  return new Promise((found, failed) => {
    const probe = net.createServer().once('error', failed);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => found(port));
    });
  });
}

/** Waits until something is so; the test fails with the last reason when it never is. */
export async function until(what, is, ms = 120_000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await is();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms / 1000} s${last ? `: ${last.message}` : ''}`);
    await new Promise((next) => setTimeout(next, 250));
  }
}

function run(binary, words) {
  return new Promise((done, failed) => {
    const child = spawn(binary, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', (part) => (said += part));
    child.stderr.on('data', (part) => (said += part));
    child.on('error', failed);
    child.on('exit', (code) => (code === 0 ? done(said) : failed(new Error(`${words[0]} ended with ${code}: ${said.slice(-2000)}`))));
  });
}

async function sql(server, text) {
  const response = await fetch(`${server}/api/v1/query`, { method: 'POST', body: JSON.stringify({ sql: text }), headers: { 'Content-Type': 'application/json' } });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

/** Starts the platform; `end` stops what was started. */
export async function startPlatform({ project = process.env.PROJECT, wearers = 20, data = true } = {}) {
  if (process.env.SERVER) return { server: process.env.SERVER, end: async () => {} };
  const binary = process.env.BIN;
  const folder = mkdtempSync(join(tmpdir(), 'vitalake-console-'));
  const [http, kafka] = [await freePort(), await freePort()];
  const server = `http://127.0.0.1:${http}`;
  const children = [];
  let said = '';
  const start = (words) => {
    const child = spawn(binary, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (said = (said + part).slice(-4000)));
    children.push(child);
    return child;
  };
  const end = async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null) continue;
      const over = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await over;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const main = start(['up', project, '--data', join(folder, 'data'), '--kafka', `127.0.0.1:${kafka}`, '--http', `127.0.0.1:${http}`]);
    await until('the platform\'s readiness', async () => {
      if (main.exitCode !== null) throw new Error(`it ended: ${said}`);
      return (await fetch(`${server}/health/ready`)).ok;
    });
    if (data) {
      for (const dataset of ['patients', 'device_assignments']) await run(binary, ['ingest', dataset, `${project}/deliveries/${dataset}.csv`, '--server', server]);
      start(['simulate', '--kafka', `127.0.0.1:${kafka}`, '--wearers', String(wearers), '--history', '24', '--json']);
      await until('a day of vitals', async () => (await sql(server, 'SELECT COUNT(*) AS n FROM serving.vitals_hourly_live'))[0].n > wearers * 12);
    }
    return { server, end, said: () => said };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Serves the built pages, and hands /api on to the platform: as a static host does it. */
export async function startPages(server) {
  const to = new URL(server);
  const pages = createServer((incoming, outgoing) => {
    const path = new URL(incoming.url, 'http://x').pathname;
    if (path.startsWith('/api/')) {
      const on = request({ host: to.hostname, port: to.port, path: incoming.url, method: incoming.method, headers: { ...incoming.headers, host: to.host } }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
      });
      on.on('error', () => outgoing.writeHead(502).end());
      outgoing.on('close', () => on.destroy());
      incoming.pipe(on);
      return;
    }
    const wanted = join(DIST, normalize(path));
    const file = wanted.startsWith(DIST) && existsSync(wanted) && statSync(wanted).isFile() ? wanted : join(DIST, 'index.html');
    outgoing.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-cache' });
    createReadStream(file).pipe(outgoing);
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  return {
    address: `http://127.0.0.1:${pages.address().port}`,
    end: () => new Promise((closed) => {
      pages.closeAllConnections();
      pages.close(closed);
    }),
  };
}
