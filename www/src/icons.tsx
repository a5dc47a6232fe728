import type { ComponentChildren } from 'preact';

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {children}
    </svg>
  );
}

export const BoardIcon = () => (
  <svg class="mark" viewBox="0 0 64 64" aria-hidden="true">
    <rect width="64" height="64" rx="15" fill="#0f6b62" />
    <rect x="13" y="14" width="16" height="24" rx="4" fill="#fff" />
    <rect x="13" y="42" width="16" height="8" rx="4" fill="#fff" opacity=".55" />
    <rect x="35" y="14" width="16" height="10" rx="4" fill="#fff" opacity=".55" />
    <rect x="35" y="28" width="16" height="22" rx="4" fill="#f5c45e" />
  </svg>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);
export const PencilIcon = () => (
  <Icon>
    <path d="M10.5 3 13 5.500 5.500 13H3v-2.500zM9 4.500 11.500 7" />
  </Icon>
);
export const UndoIcon = () => (
  <Icon>
    <path d="M3 6.500h6.500a3.250 3.250 0 0 1 0 6.500H7M6 3 2.750 6.500 6 10" />
  </Icon>
);
export const RedoIcon = () => (
  <Icon>
    <path d="M13 6.500H6.500a3.250 3.250 0 0 0 0 6.500H9M10 3l3.250 3.500L10 10" />
  </Icon>
);
export const UpIcon = () => (
  <Icon>
    <path d="M8 13V3.500M4 7l4-4 4 4" />
  </Icon>
);
export const DownIcon = () => (
  <Icon>
    <path d="M8 3v9.500M4 9l4 4 4-4" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m3 8.500 3.200 3.200L13 4.800" />
  </Icon>
);
export const LogIcon = () => (
  <Icon>
    <path d="M2.500 4h.01M5.500 4h8M2.500 8h.01M5.500 8h8M2.500 12h.01M5.500 12h5" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M2.500 4.500h11M6 4.500v-2h4v2M4 4.500l.6 9h6.800l.6-9M6.700 7.500v3M9.300 7.500v3" />
  </Icon>
);
