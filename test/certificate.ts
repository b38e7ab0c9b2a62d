// A certificate that nobody has signed, for tests of servers with TLS. It defines no test.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'

export interface Certificate {
  /** The paths of the certificate and of its key. */
  path: string
  keyPath: string
  certificate: string
  key: string
}

/** Makes a certificate for localhost. Returns undefined where openssl isn't installed, and fails there if all tests must run. */
export async function makeCertificate (t: Test): Promise<Certificate | undefined> {
  const directory = mkdtempSync(join(tmpdir(), 'fc-tls-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const [path, keyPath] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  try {
    await promisify(execFile)('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', keyPath, '-out', path
    ])
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT' && process.env['FC_REQUIRE_ALL'] !== '1') return undefined
    throw error
  }
  return { path, keyPath, certificate: readFileSync(path, 'utf8'), key: readFileSync(keyPath, 'utf8') }
}
