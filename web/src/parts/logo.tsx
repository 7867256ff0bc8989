/** The mark of the product; index.html has it, too, for before there is a script. */
export const Logo = () => (
  <svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><path d="M16 2.5h6.5a7 7 0 0 1 7 7v13a7 7 0 0 1-7 7h-13a7 7 0 0 1-7-7v-13" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" /><circle cx="10.5" cy="16" r="2.2" fill="currentColor" /><circle cx="16.5" cy="16" r="2.2" fill="currentColor" /><circle cx="22.5" cy="16" r="1.7" fill="none" stroke="currentColor" stroke-width="1.2" /></svg>
);
