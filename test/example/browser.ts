// Debian's Chromium for tests, driven by playwright-core.
import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'
import type { Test } from 'tap'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']

/** Skipped, and said so, where there is no browser; an error where all must run. */
export const skip = !existsSync(executablePath) && process.env['FC_REQUIRE_ALL'] !== '1' ? `no browser at ${executablePath}: set CHROMIUM` : false

export async function launch (t: Test): Promise<Browser> {
  const browser = await chromium.launch({ executablePath, args })
  t.teardown(() => browser.close())
  return browser
}

/** Collects the errors of a page, and of its console. */
export function complaintsOf (page: Page): string[] {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => { if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text()) })
  return complaints
}
