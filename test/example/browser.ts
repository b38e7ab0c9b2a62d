// Debian's Chromium for tests, driven by playwright-core.
import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'
import root, { type Test } from 'tap'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']

/** Skipped, and said so, where there is no browser; an error where all must run. */
export const skip = !existsSync(executablePath) && process.env['FC_REQUIRE_ALL'] !== '1' ? `no browser at ${executablePath}: set CHROMIUM` : false

let launched: Promise<Browser> | undefined

/** The browser of this file's tests: its start costs seconds of processor time. Pages that a test has opened close with it. */
export async function launch (t: Test): Promise<Browser> {
  if (launched === undefined) {
    launched = chromium.launch({ executablePath, args })
    root.teardown(async () => (await launched)?.close())
  }
  const browser = await launched
  t.teardown(async () => { for (const context of browser.contexts()) await context.close() })
  return browser
}

/** Collects the errors of a page, and of its console. */
export function complaintsOf (page: Page): string[] {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => { if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text()) })
  return complaints
}
