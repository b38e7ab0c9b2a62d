// The manifests of docs/kubernetes/ fit the application of docs/kubernetes.md: its ports, its probes, its times and its memory.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import suite from '../../plugins/index.ts'
import { root } from '../compiler.ts'

type Probe = { httpGet: { path: string, port: string }, periodSeconds: number, failureThreshold: number, timeoutSeconds?: number }

interface Container {
  image: string
  env: Array<{ name: string, value?: string }>
  ports: Array<{ name: string, containerPort: number }>
  resources: { limits: { cpu: string, memory: string }, requests: { cpu: string, memory: string } }
  securityContext: object
  startupProbe: Probe
  readinessProbe: Probe
  livenessProbe: Probe
}

interface Manifest {
  kind: string
  spec: {
    replicas: number
    maxUnavailable: number
    selector: Record<string, unknown>
    ports: Array<{ port: number, targetPort: string }>
    template: { metadata: { labels: object, annotations: object }, spec: { terminationGracePeriodSeconds: number, securityContext: object, containers: [Container] } }
  }
}

const folder = join(root, 'docs/kubernetes')
const page = readFileSync(join(root, 'docs/kubernetes.md'), 'utf8')
/** What a thread takes beside its old generation, and what the process takes beside its heap, in MB: generous. */
const BESIDE = 50

/** A number of the page's application. */
function number (pattern: RegExp): number {
  const [, digits] = pattern.exec(page) ?? []
  if (digits === undefined) throw new Error(`The page has no ${pattern}`)
  return Number(digits.replaceAll('_', ''))
}

const operatePort = number(/operate: \{ port: ([\d_]+)/)
const listenPort = number(/app\.listen\(\{ port: ([\d_]+)/)
const threads = number(/maxThreads: ([\d_]+)/)

function read (file: string): { deployment: Manifest['spec'], container: Container, service: Manifest['spec'], budget: Manifest['spec'] } {
  const manifests = parseAllDocuments(readFileSync(join(folder, file), 'utf8')).map((each) => each.toJS() as Manifest)
  const [deployment, service, budget] = ['Deployment', 'Service', 'PodDisruptionBudget'].map((kind) => manifests.find((each) => each.kind === kind)?.spec)
  if (deployment === undefined || service === undefined || budget === undefined) throw new Error(`${file} lacks a manifest`)
  return { deployment, container: deployment.template.spec.containers[0], service, budget }
}

/** Starts the page's application as far as probes are concerned. */
async function answers (t: Test, port: string, path: string): Promise<number> {
  const app = Fastify()
  t.teardown(async () => app.close())
  const at = (option: string): string => (new RegExp(`${option}: '([^']+)'`).exec(page) as RegExpExecArray)[1] as string
  await app.register(suite, { lifecycle: { readyPath: at('readyPath'), livePath: at('livePath') }, operate: { port: 0 }, metrics: false })
  await app.ready()
  if (port !== 'operate') return (await app.inject(path)).statusCode
  return (await fetch(`http://localhost:${app.operate.port}${path}`)).status
}

for (const [file, port] of [['web.yaml', listenPort], ['worker.yaml', operatePort]] as const) {
  t.test(`${file} fits the application of its page`, async (t) => {
    const { deployment, container, service, budget } = read(file)
    const { labels, annotations } = deployment.template.metadata
    t.same(annotations, { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(operatePort) })
    t.same([deployment.selector['matchLabels'], service.selector, budget.selector['matchLabels']], [labels, labels, labels])
    t.match(container.image, /:[\d.]+$/, 'a tag')
    const ports = new Map(container.ports.map(({ name, containerPort }) => [name, containerPort]))
    t.equal(ports.get('operate'), operatePort)
    t.ok(service.ports.every(({ targetPort }) => ports.has(targetPort)))
    for (const { httpGet } of [container.startupProbe, container.readinessProbe, container.livenessProbe]) {
      t.equal(ports.get(httpGet.port), port)
      t.equal(await answers(t, httpGet.port, httpGet.path), 200, httpGet.path)
    }
    t.ok(container.readinessProbe.failureThreshold >= 3 && container.startupProbe.periodSeconds * container.startupProbe.failureThreshold >= 60)
    t.match([deployment.template.spec.securityContext, container.securityContext], [{ runAsNonRoot: true, runAsUser: Number }, { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false }])
    t.ok(deployment.replicas > budget.maxUnavailable)
  })

  t.test(`${file} gives the application the time of its shutdown, and the CPUs and the memory of its threads`, async (t) => {
    const { deployment, container: { resources: { limits, requests }, env } } = read(file)
    const [closes, ends] = [deployment.template.spec.terminationGracePeriodSeconds * 1_000, number(/closeWithGrace\(\{ delay: ([\d_]+)/)]
    // lifecycle's grace is 1 s unless given.
    t.ok(closes > ends && ends > number(/timeout: ([\d_]+)/) + 1_000)
    t.same(requests, limits)
    t.equal(Number(limits.cpu), threads + 1)
    const heap = Number(/max-old-space-size=(\d+)/.exec(env.find(({ name }) => name === 'NODE_OPTIONS')?.value ?? '')?.[1])
    t.ok(Number.parseInt(limits.memory) * 1_024 > heap + BESIDE + threads * (number(/maxOldGenerationSizeMb: ([\d_]+)/) + BESIDE))
    t.equal(env.find(({ name }) => name === 'ROLE')?.value, file === 'worker.yaml' ? 'worker' : 'web')
  })
}

t.test('the Dockerfile builds what it runs, without what it needs to build', async (t) => {
  const stages = readFileSync(join(folder, 'Dockerfile'), 'utf8').split(/^FROM /m).slice(1)
  t.equal(stages.length, 2)
  t.match(stages[0], /npm ci[^]*COPY src src[^]*tsc -p \.[^]*npm prune --omit=dev/)
  t.match(stages[1], /COPY --from=build \/app\/dist dist[^]*USER node[^]*CMD \["node", "dist\/app\.js"\]/)
  const typescript = readFileSync(join(root, 'docs/typescript-and-bundlers.md'), 'utf8')
  t.match(typescript, /`"rootDir": "src"`, `"outDir": "dist"`/, 'tsc writes where the image looks')
  const majors = stages.map((stage) => /node:(\d+)-/.exec(stage)?.[1])
  t.equal(majors[0], majors[1])
  const { engines } = parse(readFileSync(join(root, 'package.json'), 'utf8')) as { engines: { node: string } }
  t.ok(Number(majors[0]) >= Number(/\d+/.exec(engines.node)?.[0]))
  t.ok(['web.yaml', 'worker.yaml', 'Dockerfile'].every((file) => existsSync(join(folder, file)) && page.includes(`kubernetes/${file}`)))
})
