import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'
import { pages } from '../llms.mjs'
import { subpaths } from '../pages.mjs'

const stub = fileURLToPath(new URL('../overload/node-stub.mjs', import.meta.url))
const links = (prefix) => pages().filter(({ file }) => file.startsWith(prefix)).map(({ file, title }) => ({ text: title.replace(/:.*/, ''), link: file.replace(/^docs/, '').replace(/\.md$/, '') }))
const all = links('docs/')
const named = (...names) => names.flatMap((name) => all.filter(({ link }) => link === `/${name}`))

const sidebar = [
  { text: 'Begin', items: [{ text: 'Overview', link: '/' }, ...named('getting-started', 'playbook')] },
  { text: 'Use', items: named('workers', 'tasks', 'groups', 'stored-tasks', 'limiter', 'locks', 'loop', 'cancellation') },
  { text: 'Overload', items: [...named('overload', 'sizing'), { text: 'Simulation', link: '/simulation' }] },
  { text: 'Operate', items: named('shutdown', 'kubernetes', 'from-one-process-to-many', 'dashboard', 'metrics', 'tracing', 'troubleshooting') },
  { text: 'Build', items: named('typescript-and-bundlers', 'testing', 'stability') },
  { text: 'Move from', collapsed: true, items: links('docs/migrate/') },
  { text: 'Recipes', collapsed: true, items: links('docs/recipes/') },
  { text: 'Reference', collapsed: true, items: subpaths().map(({ name, file }) => ({ text: name, link: `/reference/${file.replace(/\.md$/, '')}` })) }
]

export default defineConfig({
  title: 'fastify-concurrency',
  description: 'Worker threads, background tasks, rate limits and graceful shutdown for Fastify',
  srcDir: 'pages',
  outDir: 'dist',
  cleanUrls: true,
  // On a phone a table of options must fit: its last column says what an option does.
  head: [['style', {}, '@media (max-width: 640px) { .vp-doc tr :is(th, td) { padding: 6px 8px; font-size: 13px } .vp-doc tr code { padding: 2px 3px; font-size: 12px } }']],
  // Addresses of services on the reader's machine.
  ignoreDeadLinks: 'localhostLinks',
  themeConfig: {
    search: { provider: 'local' },
    nav: [{ text: 'Getting started', link: '/getting-started' }, { text: 'Simulation', link: '/simulation' }, { text: 'Reference', link: '/reference/' }],
    sidebar,
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: 'https://github.com/fastify-concurrency/fastify-concurrency' }]
  },
  vite: {
    resolve: { alias: [{ find: /^(?:node:.*|@fastify\/error)$/, replacement: stub }] },
    build: { chunkSizeWarningLimit: 2000 }
  }
})
