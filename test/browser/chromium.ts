import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { chromium } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

const html = `<!doctype html><meta charset="utf-8"><script src="/script"></script><script>
const answer = async () => page.visit(await (await fetch('/image')).arrayBuffer())
const send = (seen) => fetch('/seen', { method: 'POST', body: JSON.stringify(seen) })
answer().then(send, (error) => send({ error: String(error.stack) }))
</script>`

/** What a page of Chromium sees of an image: `script` is the bundle of page.ts. */
export async function inChromium(script: string, image: ArrayBuffer): Promise<unknown> {
  let tell: (request: IncomingMessage) => void
  const told = new Promise<IncomingMessage>((resolve) => {
    tell = resolve
  })
  const server = createServer((request, response) => {
    const bodies: Record<string, string | Uint8Array> = {
      '/': html,
      '/script': script,
      '/image': new Uint8Array(image),
    }
    if (request.url === '/seen') tell(request)
    const type = request.url === '/' ? 'text/html' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': request.url === '/script' ? 'text/javascript' : type })
    if (request.url === '/seen') request.once('end', () => response.end())
    else response.end(bodies[request.url ?? ''] ?? '')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await visitPage(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, told)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** Longest time for a page, in milliseconds. */
const PATIENCE = 120_000

/** @throws if Chromium ends, or does not answer in time, before it has told what it sees */
async function visitPage(address: string, told: Promise<IncomingMessage>): Promise<unknown> {
  const options = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
  const folder = tempDir()
  const complaints = join(folder, 'complaints')
  const output = openSync(complaints, 'w')
  // Chromium leaves helpers behind that do not end with it: all of its group are killed, and none
  // holds a pipe of this process.
  const browser = spawn(
    chromium,
    [...options, '--disable-background-networking', `--user-data-dir=${join(folder, 'profile')}`, address],
    { stdio: ['ignore', 'ignore', output], detached: true },
  )
  closeSync(output)
  const ended = once(browser, 'exit')
  const late = AbortSignal.timeout(PATIENCE)
  const failed = Promise.race([ended, once(late, 'abort')]).then(() =>
    assert.fail(`Chromium did not answer: ${readFileSync(complaints, 'utf8')}`),
  )
  failed.catch(() => {})
  try {
    return JSON.parse(await text(await Promise.race([told, failed])))
  } finally {
    killGroup(browser.pid)
    await ended
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}
